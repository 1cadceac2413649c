#include "engine/engine_cpu.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/arena.h"
#include "base/fail.h"
#include "engine/activations.h"
#include "engine/conv.h"

enum { HUGE_PAGE = 2 << 20 };

struct cpu_engine {
    struct engine engine; /* the first member, so that a pointer to it is a pointer to the struct */
    struct precision values;
    const struct activations *maps;
};

static const struct precision *values(const struct engine *e)
{
    return &((const struct cpu_engine *)e)->values;
}

static const struct activations *maps(const struct engine *e)
{
    return ((const struct cpu_engine *)e)->maps;
}

/* Returns the address of a place, or NULL if there is no map. A block's handle is the address of
 * its first byte. */
static void *at(struct engine_place place)
{
    return place.memory ? (unsigned char *)place.memory + place.offset : NULL;
}

static void cpu_close(struct engine *e)
{
    free(e);
}

/* ---- memory ---- */

/* Uses large pages where the system has them. A step walks through all of its memory, and the page
 * lookups for pages of 4 KiB take up to a third of the time. */
static struct engine_memory *allocate(struct engine *e, size_t bytes)
{
    (void)e;
    if (bytes < HUGE_PAGE)
        return (struct engine_memory *)arena_allocate(&(struct arena){bytes});
    if (bytes > SIZE_MAX - HUGE_PAGE)
        return NULL;
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *memory = aligned_alloc(HUGE_PAGE, bytes);
    if (memory)
        madvise(memory, bytes, MADV_HUGEPAGE); /* only advice, which the system may ignore */
    return memory;
}

static void release(struct engine *e, struct engine_memory *memory)
{
    (void)e;
    free(memory);
}

static void copy_in(struct engine *e, const void *from, size_t bytes, struct engine_place to)
{
    (void)e;
    memcpy(at(to), from, bytes);
}

static int copy_out(struct engine *e, struct engine_place from, size_t bytes, void *to)
{
    (void)e;
    memcpy(to, at(from), bytes);
    return 0;
}

/* ---- values in and out ---- */

static void load_bytes(struct engine *e, const uint8_t *x, int64_t n, int64_t c, const float *mean,
                       const float *std, struct engine_place y)
{
    maps(e)->load_bytes(x, n, c, mean, std, at(y), e->threads);
}

static void load_floats(struct engine *e, const float *x, int64_t n, struct engine_place y)
{
    maps(e)->load_floats(x, n, at(y), e->threads);
}

static int store_floats(struct engine *e, struct engine_place x, int64_t n, float *y)
{
    maps(e)->store_floats(at(x), n, y, e->threads);
    return 0;
}

/* ---- convolutions ---- */

static size_t packed_bytes(struct engine *e, const struct conv_shape *s)
{
    return conv_packed_bytes(values(e), s);
}

/* Returns the bytes of one thread's workspace, rounded up to whole cache lines. */
static size_t work_bytes(struct engine *e, const struct conv_shape *s)
{
    struct arena part = {0};
    size_t all;
    arena_reserve(&part, conv_work_bytes(values(e), s, e->threads), 1);
    if (arena_overflows(&part) || __builtin_mul_overflow(part.bytes, (size_t)e->threads, &all))
        return SIZE_MAX;
    return all;
}

static size_t partial_bytes(struct engine *e, const struct conv_shape *s)
{
    return conv_partial_bytes(values(e), s, e->threads);
}

static struct workspace workspace(const struct engine *e, const struct engine_scratch *work)
{
    const size_t each = work->bytes / (size_t)e->threads;
    return (struct workspace){.memory = at(work->at),
                              .bytes = each / ARENA_ALIGNMENT * ARENA_ALIGNMENT,
                              .threads = e->threads};
}

static int64_t sum_rows(struct engine *e, const struct conv_shape *s)
{
    return conv_sum_rows(values(e), s);
}

/* Packing reads the weights each time. */
static void weights_changed(struct engine *e)
{
    (void)e;
}

static void pack_forward(struct engine *e, const struct conv_shape *s, const float *weight,
                         bool once, struct engine_place packed)
{
    conv_pack_forward(values(e), s, weight, once, at(packed), e->threads);
}

static void pack_backward(struct engine *e, const struct conv_shape *s, const float *weight,
                          struct engine_place packed)
{
    conv_pack_backward(values(e), s, weight, at(packed), e->threads);
}

/* Adds each grain's rows of n values in their order, and leaves the sum in row `grain`. */
static void add_rows(double *rows, int64_t n_rows, int64_t grains, int64_t n)
{
    const int64_t each = n_rows / grains;
    for (int64_t g = 0; g < grains; g++) {
        double *to = rows + g * n;
        const double *from = rows + g * each * n;
        if (to != from)
            memcpy(to, from, (size_t)n * sizeof *to);
        for (int64_t i = 1; i < each; i++)
            for (int64_t j = 0; j < n; j++)
                to[j] += from[i * n + j];
    }
}

static int forward(struct engine *e, const struct conv_shape *s, struct engine_place x,
                   struct engine_place packed, struct engine_place y, double *sums,
                   const struct engine_scratch *work)
{
    const struct workspace parts = workspace(e, work);
    conv_forward(values(e), s, at(x), at(packed), at(y), sums, &parts);
    if (sums)
        add_rows(sums, sum_rows(e, s), s->grains, 2 * s->o);
    return 0;
}

static void backward_data(struct engine *e, const struct conv_shape *s, struct engine_place dy,
                          struct engine_place packed, struct engine_place dx, bool add,
                          const struct engine_scratch *work)
{
    const struct workspace parts = workspace(e, work);
    conv_backward_data(values(e), s, at(dy), at(packed), at(dx), add, &parts);
}

static int backward_weights(struct engine *e, const struct conv_shape *s, struct engine_place x,
                            struct engine_place dy, struct engine_place partials, float *grad,
                            const struct engine_scratch *work)
{
    const struct workspace parts = workspace(e, work);
    conv_backward_weights(values(e), s, at(x), at(dy), at(partials), grad, &parts);
    return 0;
}

/* ---- norms ---- */

static void norm_forward(struct engine *e, const struct norm_shape *s, struct engine_place x,
                         const struct norm_channels *k, struct engine_place residual, bool relu,
                         struct engine_place y)
{
    maps(e)->norm_forward(s, at(x), k, at(residual), relu, at(y), e->threads);
}

static int64_t norm_sum_rows(struct engine *e, const struct norm_shape *s)
{
    return maps(e)->norm_partials(s);
}

static int norm_backward_sums(struct engine *e, const struct norm_shape *s, struct engine_place x,
                              struct engine_place y, struct engine_place dy,
                              const struct norm_channels *k, bool relu, double *sums)
{
    maps(e)->norm_backward_sums(s, at(x), at(y), at(dy), k, relu, sums, e->threads);
    return 0;
}

static void norm_backward(struct engine *e, const struct norm_shape *s, struct engine_place x,
                          struct engine_place dy, const struct norm_channels *k, bool relu,
                          const float *constant, const float *slope)
{
    maps(e)->norm_backward(s, at(x), at(dy), k, relu, constant, slope, e->threads);
}

/* ---- pools ---- */

static void max_pool(struct engine *e, const struct pool_shape *s, struct engine_place x,
                     struct engine_place y)
{
    maps(e)->max_pool(s, at(x), at(y), e->threads);
}

static void max_pool_backward(struct engine *e, const struct pool_shape *s, struct engine_place x,
                              struct engine_place dy, struct engine_place dx)
{
    maps(e)->max_pool_backward(s, at(x), at(dy), at(dx), e->threads);
}

static void average_pool(struct engine *e, const struct norm_shape *s, struct engine_place x,
                         struct engine_place y)
{
    maps(e)->average_pool(s, at(x), at(y), e->threads);
}

static void average_pool_backward(struct engine *e, const struct norm_shape *s,
                                  struct engine_place dy, struct engine_place dx)
{
    maps(e)->average_pool_backward(s, at(dy), at(dx), e->threads);
}

static void mean_pool(struct engine *e, const struct pool_shape *s, struct engine_place x,
                      struct engine_place y)
{
    maps(e)->mean_pool(s, at(x), at(y), e->threads);
}

static void mean_pool_backward(struct engine *e, const struct pool_shape *s, struct engine_place dy,
                               struct engine_place dx)
{
    maps(e)->mean_pool_backward(s, at(dy), at(dx), e->threads);
}

/* ---- selective kernels ---- */

static void halves_mean(struct engine *e, const struct norm_shape *s, struct engine_place x,
                        struct engine_place y)
{
    maps(e)->halves_mean(s, at(x), at(y), e->threads);
}

static void halves_mean_backward(struct engine *e, const struct norm_shape *s,
                                 struct engine_place dy, struct engine_place dx)
{
    maps(e)->halves_mean_backward(s, at(dy), at(dx), e->threads);
}

static void halves_mix(struct engine *e, const struct norm_shape *s, struct engine_place x,
                       struct engine_place logits, struct engine_place y)
{
    maps(e)->halves_mix(s, at(x), at(logits), at(y), e->threads);
}

static void halves_mix_backward(struct engine *e, const struct norm_shape *s, struct engine_place x,
                                struct engine_place logits, struct engine_place dy,
                                struct engine_place dx, struct engine_place dlogits)
{
    maps(e)->halves_mix_backward(s, at(x), at(logits), at(dy), at(dx), at(dlogits), e->threads);
}

/* ---- the table ---- */

static const struct engine table = {
    .close = cpu_close,
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
    .conv_sum_rows = sum_rows,
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

struct engine *engine_cpu_new(const struct gemm_kernel *kernel, enum engine_precision precision,
                              int threads)
{
    assert(precision != (kernel->values == GEMM_BF16 ? ENGINE_FP32 : ENGINE_FP32X3));
    if (gemm_kernel_check(kernel))
        return NULL;
    struct cpu_engine *e = malloc(sizeof *e);
    if (!e)
        return fail_null("out of memory");
    const bool bf16 = precision == ENGINE_BF16;
    *e = (struct cpu_engine){
        .engine = table,
        .values = {.product = kernel, .bf16_maps = bf16, .split = precision == ENGINE_FP32X3},
        .maps = bf16 ? &activations_bf16 : &activations_fp32};
    e->engine.name = kernel->name;
    e->engine.element = e->maps->element;
    e->engine.threads = threads;
    return &e->engine;
}
