/* engine: what executes the operations of a network.
 *
 * An engine is one table of functions, struct engine. network/ and program/ reach convolutions,
 * norms, pools and memory through this table alone, so an engine may keep its memory on a device.
 * engine_choose() makes the engines of this machine's processor (engine_cpu.h). The shortest engine
 * is tests/unit/engine_reference.h, which has each function in plain loops of doubles. Start from
 * it to write another one; tests/unit/test_engines.c compares any engine with it on whole networks.
 *
 * Memory. allocate() returns a block that only the engine can read. The caller decides where in the
 * block each part begins (struct engine_place), and never reads or writes the block itself. A
 * feature map is NHWC without gaps, (images, h, w, c), in `element` bytes a value. A place's offset
 * is a multiple of 64; the engine aligns a block so that all such offsets suit it. The places of
 * one call do not overlap unless the function's comment allows it. Functions allocate nothing: the
 * *_bytes functions return how much memory a function needs besides its operands, and the caller
 * lends it to each call.
 *
 * Host memory. Parameters, their gradients, statistics, sums and coefficients are the caller's
 * arrays in host memory, float or double. Weights have torchvision's layout (o, c, kernel, kernel),
 * or (o, c, kernel) for series. A function has read such an array when it returns, so the caller
 * may change it then.
 *
 * Order. The calls on one engine come from one thread, one at a time. Each has the same effect as
 * if the previous one had completed, though an engine may queue them. A function that returns an
 * int brings values to the host: it waits for them, and returns 0, or -1 with a message (fail.h) if
 * it or any call before it failed. All others either cannot fail, or leave their failure to the
 * next function that waits; each pass of a network ends with one that does. A network makes its
 * calls in this order:
 *
 *   allocate                          once, after all sizes are known
 *   weights_changed                   before the first pass, and after each change
 *   conv_pack_forward                 of each convolution, after its weights changed
 *   load_bytes or load_floats         the input
 *   conv_forward, norm_forward ...    in the order of the plan
 *   store_floats (or copy_out)        the output
 *   load_floats (or copy_in)          the output's gradient
 *   conv_backward_weights, conv_pack_backward, conv_backward_data, norm_backward ...
 *                                     in reverse order
 *   release, close
 *
 * Rounding. An engine may compute in any precision, and rounds once to a map's type when it writes
 * the map. The bits of different engines may differ. Each engine promises the following:
 *
 *   - The same calls give the same bits, whatever the number of threads.
 *   - An image's values in a map depend on no other image, except through the statistics that the
 *     caller passes. They depend neither on the number of images nor on the image's place among
 *     them.
 *   - A sum over images consists of grains (grains.h): `grains` groups of images / grains
 *     neighbouring images. A grain's sum depends on its own images and the sizes of one image
 *     alone, so a worker that holds some of a batch's grains computes the same sums for them. */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/shapes.h"

/* A block of an engine's memory. */
struct engine_memory;

/* The place in a block at which a map, packed weights or scratch memory begin. */
struct engine_place {
    struct engine_memory *memory; /* NULL: there is no such map */
    size_t offset;                /* in bytes, a multiple of 64 */
};

/* Scratch memory, which a call may use in any way. */
struct engine_scratch {
    struct engine_place at;
    size_t bytes; /* at least what conv_work_bytes() returns for the call's shape */
};

struct engine {
    const char *name; /* the kernel, such as "fp32-avx2", for messages */
    size_t element;   /* bytes of a value of a map */
    int threads;      /* threads of the host that the engine and its caller may use; at least 1 */

    /* Frees the engine. The caller has released all of its memory before. */
    void (*close)(struct engine *e);

    /* ---- memory ---- */

    /* allocate() returns a block of that many bytes with undefined contents, or NULL (no message)
     * if there is not enough memory. release() frees the block, and accepts NULL. */
    struct engine_memory *(*allocate)(struct engine *e, size_t bytes);
    void (*release)(struct engine *e, struct engine_memory *memory);

    /* Copy bytes unchanged from and to host memory. They are for values that are floats in every
     * engine, namely an average pool's result and its gradient. */
    void (*copy_in)(struct engine *e, const void *from, size_t bytes, struct engine_place to);
    int (*copy_out)(struct engine *e, struct engine_place from, size_t bytes, void *to);

    /* ---- values in and out ---- */

    /* Sets y (n, c) to (x/255 - mean) / std for n pixels x of c channels (at most 4), with the mean
     * and std (c) of each channel. The bits are those that load_floats() gives of the same numbers
     * computed in float. */
    void (*load_bytes)(struct engine *e, const uint8_t *x, int64_t n, int64_t c, const float *mean,
                       const float *std, struct engine_place y);
    /* load_floats() writes n floats to a map; store_floats() reads n values of a map as floats. */
    void (*load_floats)(struct engine *e, const float *x, int64_t n, struct engine_place y);
    int (*store_floats)(struct engine *e, struct engine_place x, int64_t n, float *y);

    /* ---- convolutions ----
     * x (images, h, w, c), y (images, oh, ow, o), weight (o, c, conv_rows(), kernel). */

    /* Return sizes in bytes: conv_packed_bytes() that of packed weights, for either direction;
     * conv_work_bytes() that of scratch memory, enough for each of the three passes;
     * conv_partial_bytes() that of the memory that conv_backward_weights() needs in addition.
     * Return SIZE_MAX if a size overflows. */
    size_t (*conv_packed_bytes)(struct engine *e, const struct conv_shape *s);
    size_t (*conv_work_bytes)(struct engine *e, const struct conv_shape *s);
    size_t (*conv_partial_bytes)(struct engine *e, const struct conv_shape *s);

    /* Returns the rows of (2, o) doubles that conv_forward() needs for its sums, at least
     * s->grains. */
    int64_t (*conv_sum_rows)(struct engine *e, const struct conv_shape *s);

    /* Tells that weights in host memory may have changed. Between two calls, an engine may use again
     * what it has read from the same address. */
    void (*weights_changed)(struct engine *e);

    /* Bring weights into the layout that conv_forward() and conv_backward_data() read. With `once`
     * the weights of conv_pack_forward() are used for s alone, and `weight` stays as it is until
     * then; else for all shapes that differ from s only in images and grains. Those of
     * conv_pack_backward() are always packed `once`. */
    void (*conv_pack_forward)(struct engine *e, const struct conv_shape *s, const float *weight,
                              bool once, struct engine_place packed);
    void (*conv_pack_backward)(struct engine *e, const struct conv_shape *s, const float *weight,
                               struct engine_place packed);

    /* Computes y = x * weight. Unless sums is NULL, its row g, (2, o), becomes grain g's sums of y
     * and of y^2, taken before the values are rounded to y's type; the rows after those of the
     * grains are overwritten. If sums is NULL, the function does not wait, and returns 0. */
    int (*conv_forward)(struct engine *e, const struct conv_shape *s, struct engine_place x,
                        struct engine_place packed, struct engine_place y, double *sums,
                        const struct engine_scratch *work);

    /* Sets dx to the gradient of x, given that of y; with `add`, adds it to dx. */
    void (*conv_backward_data)(struct engine *e, const struct conv_shape *s, struct engine_place dy,
                               struct engine_place packed, struct engine_place dx, bool add,
                               const struct engine_scratch *work);

    /* Computes grad, shaped as weight: the gradient of the weights, summed over grains in the order
     * of grains.h. partials has conv_partial_bytes() bytes. */
    int (*conv_backward_weights)(struct engine *e, const struct conv_shape *s,
                                 struct engine_place x, struct engine_place dy,
                                 struct engine_place partials, float *grad,
                                 const struct engine_scratch *work);

    /* ---- norms (arXiv 1502.03167) ---- */

    /* Computes y = norm(x), plus the residual unless its memory is NULL. With `relu`, then sets
     * values below 0 to 0. y may be x or the residual. */
    void (*norm_forward)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                         const struct norm_channels *k, struct engine_place residual, bool relu,
                         struct engine_place y);

    /* The backward pass of y = relu(norm(x) + residual) takes two calls, since the gradient of x
     * needs sums over the batch. Let dy' be the gradient before the ReLU: dy where y > 0, else 0.
     *
     * norm_backward_sums() sets row g of sums, (2, c), to grain g's sums of dy' and of dy' (x -
     * mean). sums has norm_sum_rows() rows; those after the grains' are overwritten.
     *   ReLU without residual: relu is true and y has no memory. The function computes from x where
     *     y > 0.
     *   ReLU and residual: relu is false and y is given. The function replaces dy by dy', which is
     *     also the gradient of the residual and the dy of norm_backward().
     *   No ReLU: relu is false and y has no memory; dy' = dy.
     * norm_backward() replaces x by its gradient, dy' scale - constant - (x - mean) slope. constant
     * and slope are (c); relu is the same as in norm_backward_sums(). */
    int64_t (*norm_sum_rows)(struct engine *e, const struct norm_shape *s);
    int (*norm_backward_sums)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                              struct engine_place y, struct engine_place dy,
                              const struct norm_channels *k, bool relu, double *sums);
    void (*norm_backward)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                          struct engine_place dy, const struct norm_channels *k, bool relu,
                          const float *constant, const float *slope);

    /* ---- pools ----
     * All write dx, and do not add to it. */

    /* Compute the maximum of each window, and its gradient. Padding counts as less than any value,
     * a NaN as the largest value, and -0 as less than 0. The gradient goes to the first pixel, row
     * by row, that has the maximum. */
    void (*max_pool)(struct engine *e, const struct pool_shape *s, struct engine_place x,
                     struct engine_place y);
    void (*max_pool_backward)(struct engine *e, const struct pool_shape *s, struct engine_place x,
                              struct engine_place dy, struct engine_place dx);

    /* Compute the mean over all pixels, and its gradient. y and dy (images, c) are floats in every
     * engine, since y is the network's result: copy_out() and copy_in() move them. */
    void (*average_pool)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                         struct engine_place y);
    void (*average_pool_backward)(struct engine *e, const struct norm_shape *s,
                                  struct engine_place dy, struct engine_place dx);

    /* Compute the mean of each window of 2x2 pixels, and its gradient. Pixels below and to the
     * right of the map are zeros and are included in the mean. kernel is 2, padding is 0, oh = (h -
     * 1) / stride + 1, and ow likewise. */
    void (*mean_pool)(struct engine *e, const struct pool_shape *s, struct engine_place x,
                      struct engine_place y);
    void (*mean_pool_backward)(struct engine *e, const struct pool_shape *s, struct engine_place dy,
                               struct engine_place dx);

    /* ---- selective kernels (arXiv 1903.06586) ----
     * s->c counts the channels of a half: x (images, pixels, 2c) has two halves a and b. */

    /* Compute y (images, c), the mean of a + b over all pixels, and its gradient, which is added to
     * dx. a and b are the halves of x (images, pixels, 2c). */
    void (*halves_mean)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                        struct engine_place y);
    void (*halves_mean_backward)(struct engine *e, const struct norm_shape *s,
                                 struct engine_place dy, struct engine_place dx);

    /* Compute y (images, pixels, c) = u a + v b, with weights for each image and channel: u = 1 /
     * (1 + exp(q - p)) and v = 1 / (1 + exp(p - q)), where p and q are the halves of logits
     * (images, 2c). The backward pass writes dx and dlogits, which has the shape of logits. */
    void (*halves_mix)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                       struct engine_place logits, struct engine_place y);
    void (*halves_mix_backward)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                                struct engine_place logits, struct engine_place dy,
                                struct engine_place dx, struct engine_place dlogits);
};

/* The names of the precisions and of the kernels that engine_choose() accepts, in the form in which
 * options list choices: "a|b|c".
 *
 *   fp32     Maps and products are float32.
 *   bf16     Maps, their gradients and the packed weights are bf16; sums, statistics, weights and
 *            their gradients are float32. A machine without instructions for bf16 multiplies the
 *            same rounded numbers in float32.
 *   fp32x3   Maps are float32. A number is the sum of two bf16 numbers, and a product is the sum of
 *            three products of these, which keeps 16 of a number's 24 bits. This gives float32's
 *            range, and nearly its accuracy, on matrix units. */
extern const char engine_precisions[];
extern const char engine_kernels[]; /* comes from the list of kernels in gemm_kernel.c */

/* Returns an engine of this machine's processor with `threads` threads, at least 1. kernel is
 * "auto" for the fastest one that the machine has, or a name of engine_kernels. Returns NULL with a
 * message if the machine lacks the instructions, or the kernel does not compute this precision. */
struct engine *engine_choose(const char *precision, const char *kernel, int threads);

/* Calls close(). NULL is fine. */
void engine_free(struct engine *e);

#endif
