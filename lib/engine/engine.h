/* engine: what executes the operations of a network.
 *
 * An engine is one table of functions, struct engine. network/ and program/ reach convolutions,
 * norms, pools and memory through this table alone, so an engine may keep its memory on a device.
 * engine_choose() makes the engines of this machine's processor (engine_cpu.h). The shortest engine
 * is tests/unit/engine_reference.h: each function in plain loops of doubles. Start from it to write
 * another one; tests/unit/test_engines.c compares any engine with it on whole networks.
 *
 * Memory. allocate() returns a block that only the engine can read. Its user decides where in the
 * block each part begins (struct engine_place), and never looks inside. A feature map is NHWC
 * without gaps, (images, h, w, c), in `element` bytes a value. A place's offset is a multiple of
 * 64; a block begins at an address that suits the engine for all such offsets. Places that one call
 * gets do not overlap unless the function's comment allows it. Functions allocate nothing: what
 * they need besides their operands is asked for with the *_bytes functions, and lent to each call.
 *
 * Host memory. Parameters, their gradients, statistics, sums and coefficients are the caller's
 * arrays in host memory, float or double; weights have torchvision's layout (o, c, kernel, kernel),
 * for series (o, c, kernel). Such an array is read before the call returns, so its owner may change
 * it then.
 *
 * Order. The calls on one engine come from one thread, one at a time. Each acts as if the one
 * before it were complete, though an engine may queue them. A function that returns an int brings
 * values to the host: it waits for them, and returns 0, or -1 with a message (fail.h) if it or any
 * call before it failed. All others cannot fail, or leave their failure to the next one that
 * waits; each pass of a network ends with one that does.
 *
 *   allocate                          once, after all sizes were asked for
 *   conv_pack_forward                 of each convolution, after its weights changed
 *   load_bytes or load_floats         the input
 *   conv_forward, norm_forward ...    in the order of the plan
 *   store_floats (or copy_out)        the output
 *   load_floats (or copy_in)          the output's gradient
 *   conv_backward_weights, conv_pack_backward, conv_backward_data, norm_backward ...
 *                                     in reverse order
 *   release, close
 *
 * Rounding. An engine computes in the precision that it likes, and rounds once to a map's type when
 * it writes the map. These promises hold for the bits of every engine, alone:
 *
 *   - The same calls give the same bits, whatever the number of threads.
 *   - An image's values in a map depend on no other image, except through the statistics that the
 *     caller passes. Nor do they depend on the number of images or on the image's place among them.
 *   - A sum over images is made of grains (grains.h): `grains` groups of images / grains
 *     neighbouring images. A grain's sum depends on its own images and the sizes of one image
 *     alone, so a worker that holds some of a batch's grains computes the same sums of them. */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/shapes.h"

/* A block of an engine's memory. */
struct engine_memory;

/* Where a map, packed weights or scratch memory begin in a block. */
struct engine_place {
    struct engine_memory *memory; /* NULL: there is no such map */
    size_t offset;                /* in bytes, a multiple of 64 */
};

/* Scratch memory, which a call may use in any way. */
struct engine_scratch {
    struct engine_place at;
    size_t bytes; /* at least what conv_work_bytes() says of the call's shape */
};

struct engine {
    const char *name; /* of what computes, "fp32-avx2": for messages */
    size_t element;   /* bytes of a value of a map */
    int threads;      /* of the host, that the engine and its user may take; at least 1 */

    /* Frees the engine, of which all memory was released. */
    void (*close)(struct engine *e);

    /* ---- memory ---- */

    /* Returns a block of that many bytes, which hold anything; NULL (no message) if there is no
     * room. release() frees it; NULL is fine. */
    struct engine_memory *(*allocate)(struct engine *e, size_t bytes);
    void (*release)(struct engine *e, struct engine_memory *memory);

    /* Copy bytes as they are, from and to host memory: floats that are floats in every engine,
     * namely an average pool's result and its gradient. */
    void (*copy_in)(struct engine *e, const void *from, size_t bytes, struct engine_place to);
    int (*copy_out)(struct engine *e, struct engine_place from, size_t bytes, void *to);

    /* ---- values in and out ---- */

    /* y (n, c), from n pixels x of c channels, at most 4: (x/255 - mean) / std of the channel, with
     * the bits that load_floats() gives of the same numbers computed in float. */
    void (*load_bytes)(struct engine *e, const uint8_t *x, int64_t n, int64_t c, const float *mean,
                       const float *std, struct engine_place y);
    /* n floats into a map, and n values of a map as floats. */
    void (*load_floats)(struct engine *e, const float *x, int64_t n, struct engine_place y);
    int (*store_floats)(struct engine *e, struct engine_place x, int64_t n, float *y);

    /* ---- convolutions ----
     * x (images, h, w, c), y (images, oh, ow, o), weight (o, c, conv_rows(), kernel). */

    /* Sizes in bytes: of packed weights, for either direction; of scratch memory, for any of the
     * three passes; of what conv_backward_weights() needs besides. SIZE_MAX if they overflow. */
    size_t (*conv_packed_bytes)(struct engine *e, const struct conv_shape *s);
    size_t (*conv_work_bytes)(struct engine *e, const struct conv_shape *s);
    size_t (*conv_partial_bytes)(struct engine *e, const struct conv_shape *s);

    /* Rows of (2, o) doubles that conv_forward() needs for its sums, at least s->grains. */
    int64_t (*conv_sum_rows)(struct engine *e, const struct conv_shape *s);

    /* Bring weights into the layout that conv_forward() and conv_backward_data() read. What is
     * packed serves shapes that differ in images and grains alone. */
    void (*conv_pack_forward)(struct engine *e, const struct conv_shape *s, const float *weight,
                              struct engine_place packed);
    void (*conv_pack_backward)(struct engine *e, const struct conv_shape *s, const float *weight,
                               struct engine_place packed);

    /* y = x * weight. Unless sums is NULL, its row g (2, o) becomes grain g's sums of y and of y^2,
     * of the values before they were rounded to y's type; rows after those of the grains are used
     * up. With sums NULL it does not wait, and returns 0. */
    int (*conv_forward)(struct engine *e, const struct conv_shape *s, struct engine_place x,
                        struct engine_place packed, struct engine_place y, double *sums,
                        const struct engine_scratch *work);

    /* dx = the gradient of x, given that of y; with add, dx += it. */
    void (*conv_backward_data)(struct engine *e, const struct conv_shape *s, struct engine_place dy,
                               struct engine_place packed, struct engine_place dx, bool add,
                               const struct engine_scratch *work);

    /* grad, shaped as weight: the gradient of the weights, summed over grains as grains.h says.
     * partials: conv_partial_bytes() bytes. */
    int (*conv_backward_weights)(struct engine *e, const struct conv_shape *s,
                                 struct engine_place x, struct engine_place dy,
                                 struct engine_place partials, float *grad,
                                 const struct engine_scratch *work);

    /* ---- norms (arXiv 1502.03167) ---- */

    /* y = norm(x) [+ residual, unless it is no map] [, then ReLU: what is below 0 becomes 0].
     * y may be x or the residual. */
    void (*norm_forward)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                         const struct norm_channels *k, struct engine_place residual, bool relu,
                         struct engine_place y);

    /* The backward pass of y = relu(norm(x) + residual) takes two calls, since the gradient of x
     * needs sums over the batch. Let dy' be the gradient before the ReLU: dy where y > 0, else 0.
     *
     * norm_backward_sums(): row g of sums becomes grain g's sum of dy', and of dy' (x - mean), (2,
     * c). sums has room for norm_sum_rows() rows, of which those after the grains' are used up.
     *   ReLU without residual: relu is true and y no map; where y > 0 is found again from x.
     *   ReLU and residual: relu is false and y given; dy is replaced by dy', which is also the
     *     gradient of the residual and what norm_backward() takes.
     *   no ReLU: relu is false and y no map; dy' = dy.
     * norm_backward(): x is replaced by its gradient, dy' scale - constant - (x - mean) slope.
     * constant and slope are (c); relu as in norm_backward_sums(). */
    int64_t (*norm_sum_rows)(struct engine *e, const struct norm_shape *s);
    int (*norm_backward_sums)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                              struct engine_place y, struct engine_place dy,
                              const struct norm_channels *k, bool relu, double *sums);
    void (*norm_backward)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                          struct engine_place dy, const struct norm_channels *k, bool relu,
                          const float *constant, const float *slope);

    /* ---- pools ----
     * All write dx, and do not add to it. */

    /* The maximum of each window; padding counts less than any value, a NaN as the largest value,
     * and -0 as less than 0. The gradient goes to the first pixel, row by row, that has the
     * maximum. */
    void (*max_pool)(struct engine *e, const struct pool_shape *s, struct engine_place x,
                     struct engine_place y);
    void (*max_pool_backward)(struct engine *e, const struct pool_shape *s, struct engine_place x,
                              struct engine_place dy, struct engine_place dx);

    /* The mean over all pixels. y and dy (images, c) are floats in every engine, since they are the
     * network's result: copy_out() and copy_in() move them. */
    void (*average_pool)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                         struct engine_place y);
    void (*average_pool_backward)(struct engine *e, const struct norm_shape *s,
                                  struct engine_place dy, struct engine_place dx);

    /* The mean of each window of 2x2 pixels, of which those below and to the right of the map are
     * zeros, which count: kernel is 2, padding 0, oh = (h - 1) / stride + 1, and ow likewise. */
    void (*mean_pool)(struct engine *e, const struct pool_shape *s, struct engine_place x,
                      struct engine_place y);
    void (*mean_pool_backward)(struct engine *e, const struct pool_shape *s, struct engine_place dy,
                               struct engine_place dx);

    /* ---- selective kernels (arXiv 1903.06586) ----
     * s->c counts the channels of a half: x (images, pixels, 2c) has two halves a and b. */

    /* y (images, c): the mean of a + b over all pixels. Backward adds to dx. */
    void (*halves_mean)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                        struct engine_place y);
    void (*halves_mean_backward)(struct engine *e, const struct norm_shape *s,
                                 struct engine_place dy, struct engine_place dx);

    /* y (images, pixels, c) = u a + v b, with weights for each image and channel:
     * u = 1 / (1 + exp(q - p)) and v = 1 / (1 + exp(p - q)), where p and q are the halves of logits
     * (images, 2c). Backward writes dx and dlogits, which is shaped as logits. */
    void (*halves_mix)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                       struct engine_place logits, struct engine_place y);
    void (*halves_mix_backward)(struct engine *e, const struct norm_shape *s, struct engine_place x,
                                struct engine_place logits, struct engine_place dy,
                                struct engine_place dx, struct engine_place dlogits);
};

/* The precisions and the kernels that engine_choose() knows, as options list them: "a|b|c".
 *
 *   fp32     Maps and products are float32.
 *   bf16     Maps, their gradients and the packed weights are bf16; sums, statistics, weights and
 *            their gradients are float32. Without instructions for bf16, the same rounded numbers
 *            are multiplied in float32.
 *   fp32x3   Maps are float32. A number is split in two of bf16, and a product is three of theirs,
 *            which keeps 16 of a number's 24 bits: float32's range, and nearly its accuracy, on
 *            matrix units. */
extern const char engine_precisions[];
extern const char engine_kernels[]; /* made from the one list of kernels, in gemm_kernel.c */

/* Returns an engine of this machine's processor, with `threads` threads, from 1 on. kernel is
 * "auto" for the fastest one that the machine has, or a name of engine_kernels. NULL with a
 * message: the machine lacks the instructions, or the kernel does not compute this precision. */
struct engine *engine_choose(const char *precision, const char *kernel, int threads);

/* Calls close(); NULL is fine. */
void engine_free(struct engine *e);

#endif
