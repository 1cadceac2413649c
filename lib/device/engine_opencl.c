#include "device/engine_opencl.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "device/kernel_arguments.h"
#include "device/opencl_conv.h"
#include "device/opencl_queue.h"

/* A copy of a host array of weights. */
struct weight_copy {
    const float *host;
    size_t bytes;
    cl_mem memory;
    bool current; /* it has been copied since weights_changed() */
};

struct opencl_engine {
    struct engine engine; /* the first member, so that a pointer to it is a pointer to the struct */
    struct opencl_queue *queue;
    cl_mem sums, bytes; /* pairs of sums; the bytes that load_bytes() reads */
    size_t sums_capacity, bytes_capacity;
    float *pairs; /* sums on the host */
    size_t pairs_capacity;
    struct weight_copy *weights;
    int64_t n_weights, weights_capacity;
};

static struct opencl_engine *self(struct engine *e)
{
    return (struct opencl_engine *)e;
}

/* A block's handle is OpenCL's. */
static struct opencl_place at(struct engine_place p)
{
    return (struct opencl_place){(cl_mem)p.memory, p.offset};
}

static const struct opencl_place nowhere = {NULL, 0};

/* Runs a kernel with n0 x n1 groups. Its arguments are the sizes, then the places. */
#define RUN(e, kernel, n0, n1, sizes, ...)                                                         \
    opencl_run(self(e)->queue, OPENCL_KERNEL_##kernel, (size_t[]){(size_t)(n0), (size_t)(n1), 1},  \
               &(sizes), sizeof(sizes), (struct opencl_place[]){__VA_ARGS__},                      \
               (int)(sizeof((struct opencl_place[]){__VA_ARGS__}) / sizeof(struct opencl_place)))

static int64_t groups(int64_t n, int64_t of)
{
    return (n + of - 1) / of;
}

static void opencl_engine_close(struct engine *e)
{
    struct opencl_engine *o = self(e);
    if (o->queue) {
        opencl_release(o->queue, o->sums);
        opencl_release(o->queue, o->bytes);
        for (int64_t i = 0; i < o->n_weights; i++)
            opencl_release(o->queue, o->weights[i].memory);
    }
    opencl_close(o->queue);
    free(o->weights);
    free(o->pairs);
    free(o);
}

/* ---- memory ---- */

static struct engine_memory *allocate(struct engine *e, size_t bytes)
{
    return (struct engine_memory *)opencl_allocate(self(e)->queue, bytes);
}

static void release(struct engine *e, struct engine_memory *memory)
{
    opencl_release(self(e)->queue, (cl_mem)memory);
}

static void copy_in(struct engine *e, const void *from, size_t bytes, struct engine_place to)
{
    opencl_write(self(e)->queue, from, bytes, at(to));
}

static int copy_out(struct engine *e, struct engine_place from, size_t bytes, void *to)
{
    return opencl_read(self(e)->queue, at(from), bytes, to);
}

/* ---- values in and out ---- */

/* The numbers are computed here for each of the 256 bytes, since a device may divide less exactly. */
static void load_bytes(struct engine *e, const uint8_t *x, int64_t n, int64_t c, const float *mean,
                       const float *std, struct engine_place y)
{
    struct opencl_engine *o = self(e);
    const size_t bytes = (size_t)(n * c);
    float table[4 * 256];
    for (int64_t i = 0; i < c; i++)
        for (int b = 0; b < 256; b++)
            table[i * 256 + b] = ((float)b / 255 - mean[i]) / std[i];
    opencl_grow(o->queue, &o->bytes, &o->bytes_capacity, bytes);
    const struct opencl_place from = {o->bytes, 0};
    opencl_write(o->queue, x, bytes, from);
    const struct opencl_place values =
        opencl_upload(o->queue, table, (size_t)c * 256 * sizeof *table);
    const struct bytes_arguments s = {.values = (int)(n * c), .channels = (int)c};
    RUN(e, load_bytes, groups(n * c, ITEMS), 1, s, from, values, at(y));
}

static void load_floats(struct engine *e, const float *x, int64_t n, struct engine_place y)
{
    copy_in(e, x, (size_t)n * sizeof *x, y);
}

static int store_floats(struct engine *e, struct engine_place x, int64_t n, float *y)
{
    return copy_out(e, x, (size_t)n * sizeof *y, y);
}

/* ---- sums ---- */

/* Returns the place for rows of pairs (rows, columns), which come after their sums (grains,
 * columns). */
static struct opencl_place sum_rows(struct opencl_engine *o, int64_t grains, int64_t rows,
                                    int64_t columns)
{
    const size_t sums = (size_t)(grains * columns) * sizeof(cl_float2);
    opencl_grow(o->queue, &o->sums, &o->sums_capacity,
                sums + (size_t)(rows * columns) * sizeof(cl_float2));
    return (struct opencl_place){o->sums, sums};
}

/* Adds each grain's rows, and brings the sums to the host. */
static int read_sums(struct engine *e, int64_t grains, int64_t grain_rows, int64_t columns,
                     double *sums)
{
    struct opencl_engine *o = self(e);
    const size_t n = (size_t)(grains * columns), bytes = n * sizeof(cl_float2);
    if (bytes > o->pairs_capacity) {
        free(o->pairs);
        o->pairs = malloc(bytes);
        o->pairs_capacity = o->pairs ? bytes : 0;
        if (!o->pairs)
            return fail_memory(NULL);
    }
    const struct sum_arguments s = {.grain_rows = (int)grain_rows, .columns = (int)columns};
    const struct opencl_place to = {o->sums, 0}, from = {o->sums, bytes};
    RUN(e, sum_pairs, groups(columns, 8), grains, s, from, to);
    if (opencl_read(o->queue, to, bytes, o->pairs))
        return -1;
    for (size_t i = 0; i < n; i++)
        sums[i] = (double)o->pairs[2 * i] + (double)o->pairs[2 * i + 1];
    return 0;
}

/* ---- convolutions ---- */

static size_t packed_bytes(struct engine *e, const struct conv_shape *s)
{
    (void)e;
    return opencl_conv_packed_bytes(s);
}

static size_t work_bytes(struct engine *e, const struct conv_shape *s)
{
    (void)e;
    return opencl_conv_work_bytes(s);
}

static size_t partial_bytes(struct engine *e, const struct conv_shape *s)
{
    (void)e;
    return opencl_conv_partial_bytes(s);
}

static int64_t conv_sum_rows(struct engine *e, const struct conv_shape *s)
{
    (void)e;
    return s->grains;
}

static void weights_changed(struct engine *e)
{
    for (int64_t i = 0; i < self(e)->n_weights; i++)
        self(e)->weights[i].current = false;
}

/* Returns the copy of an array of weights, which is made if there is none yet. */
static struct weight_copy *weight_copy(struct opencl_engine *o, const float *host, size_t bytes)
{
    for (int64_t i = 0; i < o->n_weights; i++)
        if (o->weights[i].host == host && o->weights[i].bytes == bytes)
            return &o->weights[i];
    struct weight_copy *grown = grow(o->weights, o->n_weights, &o->weights_capacity, sizeof *grown);
    if (!grown)
        return NULL;
    o->weights = grown;
    const cl_mem memory = opencl_allocate(o->queue, bytes);
    if (!memory)
        return NULL;
    o->weights[o->n_weights] = (struct weight_copy){host, bytes, memory, false};
    return &o->weights[o->n_weights++];
}

static void pack(struct engine *e, const struct conv_shape *s, const float *weight, bool backward,
                 struct engine_place packed)
{
    struct opencl_engine *o = self(e);
    const size_t bytes = (size_t)(s->o * s->c * conv_rows(s) * s->kernel) * sizeof *weight;
    struct weight_copy *copy = weight_copy(o, weight, bytes);
    if (!copy) {
        opencl_fail(o->queue, "out of memory for weights");
        return;
    }
    const struct opencl_place from = {copy->memory, 0};
    if (!copy->current)
        opencl_write(o->queue, weight, bytes, from);
    copy->current = true;
    opencl_conv_pack(o->queue, s, from, backward, at(packed));
}

static void pack_forward(struct engine *e, const struct conv_shape *s, const float *weight,
                         bool once, struct engine_place packed)
{
    (void)once;
    pack(e, s, weight, false, packed);
}

static void pack_backward(struct engine *e, const struct conv_shape *s, const float *weight,
                          struct engine_place packed)
{
    pack(e, s, weight, true, packed);
}

static int forward(struct engine *e, const struct conv_shape *s, struct engine_place x,
                   struct engine_place packed, struct engine_place y, double *sums,
                   const struct engine_scratch *work)
{
    struct opencl_engine *o = self(e);
    const int rows = opencl_conv_grain_rows(s);
    const struct opencl_place parts =
        sums ? sum_rows(o, s->grains, s->grains * rows, 2 * s->o) : nowhere;
    opencl_conv_forward(o->queue, s, at(x), at(packed), at(y), parts, at(work->at));
    return sums ? read_sums(e, s->grains, rows, 2 * s->o, sums) : 0;
}

static void backward_data(struct engine *e, const struct conv_shape *s, struct engine_place dy,
                          struct engine_place packed, struct engine_place dx, bool add,
                          const struct engine_scratch *work)
{
    opencl_conv_backward_data(self(e)->queue, s, at(dy), at(packed), at(dx), add, at(work->at));
}

static int backward_weights(struct engine *e, const struct conv_shape *s, struct engine_place x,
                            struct engine_place dy, struct engine_place partials, float *grad,
                            const struct engine_scratch *work)
{
    (void)work;
    struct opencl_queue *q = self(e)->queue;
    opencl_conv_backward_weights(q, s, at(x), at(dy), at(partials));
    return opencl_read(q, at(partials),
                       (size_t)(s->o * s->c * conv_rows(s) * s->kernel) * sizeof *grad, grad);
}

/* ---- norms ---- */

static struct map_arguments map_arguments(const struct norm_shape *s)
{
    const int64_t grain = s->images / s->grains * s->pixels;
    return (struct map_arguments){.values = (int)(s->images * s->pixels * s->c),
                                  .pixels = (int)s->pixels,
                                  .channels = (int)s->c,
                                  .grain_pixels = (int)grain,
                                  .grain_parts = (int)groups(grain, TILE)};
}

/* Brings the coefficients of a norm to the device, as (5, c). */
static struct opencl_place coefficients(struct engine *e, const struct norm_shape *s,
                                        const struct norm_channels *k, const float *constant,
                                        const float *slope)
{
    const float *const rows[] = {k->mean, k->scale, k->bias, constant, slope};
    const size_t row = (size_t)s->c * sizeof(float);
    float *all = malloc(5 * row);
    struct opencl_place to = nowhere;
    if (!all) {
        opencl_fail(self(e)->queue, "out of memory");
        return to;
    }
    for (int i = 0; i < 5; i++)
        memcpy(all + i * s->c, rows[i] ? rows[i] : k->mean, row);
    to = opencl_upload(self(e)->queue, all, 5 * row);
    free(all);
    return to;
}

static void norm_forward(struct engine *e, const struct norm_shape *s, struct engine_place x,
                         const struct norm_channels *k, struct engine_place residual, bool relu,
                         struct engine_place y)
{
    struct map_arguments a = map_arguments(s);
    a.residual = residual.memory != NULL;
    a.relu = relu;
    const struct opencl_place of = coefficients(e, s, k, NULL, NULL);
    RUN(e, norm_forward, groups(a.values, ITEMS), 1, a, at(x), of, at(a.residual ? residual : x),
        at(y));
}

static int64_t norm_sum_rows(struct engine *e, const struct norm_shape *s)
{
    (void)e;
    return s->grains;
}

static int norm_backward_sums(struct engine *e, const struct norm_shape *s, struct engine_place x,
                              struct engine_place y, struct engine_place dy,
                              const struct norm_channels *k, bool relu, double *sums)
{
    struct map_arguments a = map_arguments(s);
    a.masked = y.memory != NULL;
    a.relu = relu;
    const int64_t parts = s->grains * a.grain_parts;
    const struct opencl_place rows = sum_rows(self(e), s->grains, parts, 2 * s->c);
    const struct opencl_place of = coefficients(e, s, k, NULL, NULL);
    RUN(e, norm_backward_sums, parts, groups(s->c, ITEMS), a, at(x), at(a.masked ? y : x), at(dy),
        of, rows);
    return read_sums(e, s->grains, a.grain_parts, 2 * s->c, sums);
}

static void norm_backward(struct engine *e, const struct norm_shape *s, struct engine_place x,
                          struct engine_place dy, const struct norm_channels *k, bool relu,
                          const float *constant, const float *slope)
{
    struct map_arguments a = map_arguments(s);
    a.relu = relu;
    const struct opencl_place of = coefficients(e, s, k, constant, slope);
    RUN(e, norm_backward, groups(a.values, ITEMS), 1, a, at(x), at(dy), of);
}

/* ---- pools ---- */

static struct pool_arguments pool_arguments(const struct pool_shape *s)
{
    return (struct pool_arguments){.images = (int)s->images,
                                   .in_rows = (int)s->h,
                                   .in_columns = (int)s->w,
                                   .channels = (int)s->c,
                                   .out_rows = (int)s->oh,
                                   .out_columns = (int)s->ow,
                                   .window = (int)s->kernel,
                                   .step = (int)s->stride,
                                   .padding = (int)s->padding};
}

/* Return the number of groups for the values of a pool's map. */
static int64_t in_groups(const struct pool_shape *s)
{
    return groups(s->images * s->h * s->w * s->c, ITEMS);
}

static int64_t out_groups(const struct pool_shape *s)
{
    return groups(s->images * s->oh * s->ow * s->c, ITEMS);
}

static void max_pool(struct engine *e, const struct pool_shape *s, struct engine_place x,
                     struct engine_place y)
{
    const struct pool_arguments a = pool_arguments(s);
    RUN(e, max_pool, out_groups(s), 1, a, at(x), at(y));
}

static void max_pool_backward(struct engine *e, const struct pool_shape *s, struct engine_place x,
                              struct engine_place dy, struct engine_place dx)
{
    const struct pool_arguments a = pool_arguments(s);
    RUN(e, max_pool_backward, in_groups(s), 1, a, at(x), at(dy), at(dx));
}

static void mean_pool(struct engine *e, const struct pool_shape *s, struct engine_place x,
                      struct engine_place y)
{
    const struct pool_arguments a = pool_arguments(s);
    RUN(e, mean_pool, out_groups(s), 1, a, at(x), at(y));
}

static void mean_pool_backward(struct engine *e, const struct pool_shape *s, struct engine_place dy,
                               struct engine_place dx)
{
    const struct pool_arguments a = pool_arguments(s);
    RUN(e, mean_pool_backward, in_groups(s), 1, a, at(dy), at(dx));
}

/* Computes means over pixels, of a map or of the sum of its halves. */
static void means(struct engine *e, const struct norm_shape *s, bool halves, struct engine_place x,
                  struct engine_place y)
{
    struct map_arguments a = map_arguments(s);
    a.values = (int)(s->images * s->c);
    a.residual = halves;
    RUN(e, average_pool, groups(a.values, ITEMS), 1, a, at(x), at(y));
}

static void means_backward(struct engine *e, const struct norm_shape *s, bool halves,
                           struct engine_place dy, struct engine_place dx)
{
    struct map_arguments a = map_arguments(s);
    a.values *= halves ? 2 : 1;
    a.residual = halves;
    RUN(e, average_pool_backward, groups(a.values, ITEMS), 1, a, at(dy), at(dx));
}

static void average_pool(struct engine *e, const struct norm_shape *s, struct engine_place x,
                         struct engine_place y)
{
    means(e, s, false, x, y);
}

static void average_pool_backward(struct engine *e, const struct norm_shape *s,
                                  struct engine_place dy, struct engine_place dx)
{
    means_backward(e, s, false, dy, dx);
}

/* ---- selective kernels ---- */

static void halves_mean(struct engine *e, const struct norm_shape *s, struct engine_place x,
                        struct engine_place y)
{
    means(e, s, true, x, y);
}

static void halves_mean_backward(struct engine *e, const struct norm_shape *s,
                                 struct engine_place dy, struct engine_place dx)
{
    means_backward(e, s, true, dy, dx);
}

static void halves_mix(struct engine *e, const struct norm_shape *s, struct engine_place x,
                       struct engine_place logits, struct engine_place y)
{
    const struct map_arguments a = map_arguments(s);
    RUN(e, halves_mix, groups(a.values, ITEMS), 1, a, at(x), at(logits), at(y));
}

static void halves_mix_backward(struct engine *e, const struct norm_shape *s, struct engine_place x,
                                struct engine_place logits, struct engine_place dy,
                                struct engine_place dx, struct engine_place dlogits)
{
    struct map_arguments a = map_arguments(s);
    a.values = (int)(s->images * s->c);
    RUN(e, halves_mix_backward, groups(a.values, ITEMS), 1, a, at(x), at(logits), at(dy), at(dx),
        at(dlogits));
}

/* ---- the table ---- */

static const struct engine table = {
    .name = "opencl",
    .element = sizeof(float),
    .close = opencl_engine_close,
    .allocate = allocate,
    .release = release,
    .copy_in = copy_in,
    .copy_out = copy_out,
    .load_bytes = load_bytes,
    .load_floats = load_floats,
    .store_floats = store_floats,
    .conv_packed_bytes = packed_bytes,
    .conv_work_bytes = work_bytes,
    .conv_partial_bytes = partial_bytes,
    .conv_sum_rows = conv_sum_rows,
    .weights_changed = weights_changed,
    .conv_pack_forward = pack_forward,
    .conv_pack_backward = pack_backward,
    .conv_forward = forward,
    .conv_backward_data = backward_data,
    .conv_backward_weights = backward_weights,
    .norm_forward = norm_forward,
    .norm_sum_rows = norm_sum_rows,
    .norm_backward_sums = norm_backward_sums,
    .norm_backward = norm_backward,
    .max_pool = max_pool,
    .max_pool_backward = max_pool_backward,
    .average_pool = average_pool,
    .average_pool_backward = average_pool_backward,
    .mean_pool = mean_pool,
    .mean_pool_backward = mean_pool_backward,
    .halves_mean = halves_mean,
    .halves_mean_backward = halves_mean_backward,
    .halves_mix = halves_mix,
    .halves_mix_backward = halves_mix_backward,
};

struct engine *engine_opencl_new(const char *device, int threads)
{
    struct opencl_engine *o = calloc(1, sizeof *o);
    if (!o)
        return fail_null("out of memory");
    o->engine = table;
    o->engine.threads = threads;
    o->queue = opencl_open(device);
    if (o->queue)
        return &o->engine;
    struct fail_note why;
    fail_save(&why);
    opencl_engine_close(&o->engine);
    fail_restore(&why);
    return NULL;
}
