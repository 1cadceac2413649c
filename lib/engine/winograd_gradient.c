#include "engine/winograd_gradient.h"

#include <string.h>

#include "engine/grains.h"
#include "engine/winograd_memory.h"

enum {
    POSITIONS = WINOGRAD_POSITIONS,
    LANES = WINOGRAD_LANES, /* also the depth of a product of floats */
    TAPS = 9,
    STRIP = 64,      /* tiles, about, of a strip */
    GROUP = 64,      /* channels, about, whose inputs stay in the cache while gradients pass */
    HELD = 256,      /* outputs of all grains whose gradients stay there while held inputs pass */
    HELD_GRAINS = 16 /* most grains that pay */
};

/* There are two ways, which end in the same bits.
 *
 * Usually a task is a grain. It goes through the grain in strips of tiles, and adds each strip's
 * gradient to the grain's, in memory.
 *
 * Small maps with many channels are "held". They have more weights than tiles, so the gradients of
 * all grains would take longer to pass through memory than to compute. All tiles are transformed
 * first. A task then is some outputs and inputs, for which it adds up the gradients of all grains
 * block by block, in the cache. */
static bool is_held(const struct winograd_shape *s)
{
    const int64_t tiles = winograd_grain_tiles(s);
    return tiles <= LANES && s->grains <= HELD_GRAINS &&
           POSITIONS * tiles * (s->c + s->o) <= TAPS * s->c * s->o;
}

/* Returns the tiles of a strip, in whole steps of products, which are sums over tiles here. A strip
 * is within one grain; a grain that is held is one strip. More tiles would not stay in the cache. */
static int64_t strip_tiles(const struct winograd_shape *s)
{
    const int64_t all = winograd_grain_tiles(s);
    return count_round_up(count_divide_up(all, count_divide_up(all, STRIP)), LANES);
}

/* The transformed tiles of a strip. */
struct gradient_tiles {
    struct winograd_planes v; /* inputs */
    struct winograd_planes d; /* outputs' gradients, which lie across: rows are tiles */
};

/* ---- the memory of held tiles ---- */

/* The held tiles of all grains. Those of one grain and of a group of channels lie together, so that
 * products read them in the order of memory. */
struct held_tiles {
    float *first;
    int64_t grains, rows, columns; /* tiles of a grain, channels of a group */
    int64_t groups;
};

static int64_t held_floats(const struct held_tiles *h)
{
    return POSITIONS * winograd_position_floats(h->rows * h->columns);
}

static struct winograd_planes held_planes(const struct held_tiles *h, int64_t group, int64_t grain)
{
    return (struct winograd_planes){.first =
                                        h->first + (group * h->grains + grain) * held_floats(h),
                                    .rows = h->rows,
                                    .columns = h->columns,
                                    .channels = h->columns,
                                    .position = winograd_position_floats(h->rows * h->columns)};
}

/* Returns the outputs of a group: whole blocks. */
static int64_t held_outputs(const struct gemm_kernel *p, const struct winograd_shape *s)
{
    return count_round_up(count_divide_up(HELD, s->grains), p->rows);
}

static struct held_tiles reserve_held(struct winograd_layout *l, const struct winograd_shape *s,
                                      int64_t groups, int64_t columns)
{
    struct held_tiles h = {
        .grains = s->grains, .rows = strip_tiles(s), .columns = columns, .groups = groups};
    h.first = winograd_reserve(l, groups * s->grains, (size_t)held_floats(&h) * sizeof *h.first);
    return h;
}

/* ---- memory ---- */

/* Returns the floats of a block's gradient. */
static int64_t block_taps(const struct gemm_kernel *p)
{
    return p->rows * TAPS * p->columns;
}

/* The memory that the threads share. */
struct shared_memory {
    struct held_tiles inputs, outputs; /* if the shape is held */
    float *partials;                   /* (grains, o, taps, c), if not */
};

/* A thread's memory. */
struct thread_memory {
    /* Held: a block's gradient, and for each block of a group sums over grains (grains.h), which have
     * `tree` floats: those of a block for each binary digit of grains - 1. */
    float *taps, *levels;
    int64_t tree;
    struct gradient_tiles tiles; /* a strip's, if not held */
    struct winograd_planes m;    /* products of one block */
    struct gemm_step *steps;
};

/* The next two place the parts of the memory, or only compute its size if memory is NULL. They
 * return its bytes. */
static size_t lay_out_shared(const struct gemm_kernel *p, const struct winograd_shape *s,
                             void *memory, struct shared_memory *m)
{
    struct winograd_layout l = {.memory = memory};
    *m = (struct shared_memory){0};
    if (is_held(s)) {
        const int64_t outputs = held_outputs(p, s);
        m->inputs = reserve_held(&l, s, count_divide_up(s->c, p->columns), p->columns);
        m->outputs =
            reserve_held(&l, s, count_divide_up(s->o, outputs), count_round_up(outputs, LANES));
    } else
        m->partials = winograd_reserve(&l, s->grains * s->o * TAPS * s->c, sizeof *m->partials);
    return l.arena.bytes;
}

static size_t lay_out_thread(const struct gemm_kernel *p, const struct winograd_shape *s,
                             unsigned char *memory, struct thread_memory *t)
{
    const int64_t strip = strip_tiles(s);
    struct winograd_layout l = {.memory = memory};
    *t = (struct thread_memory){0};
    if (is_held(s)) {
        t->taps = winograd_reserve(&l, block_taps(p), sizeof *t->taps);
        for (int64_t rest = s->grains - 1; rest; rest /= 2)
            t->tree += block_taps(p);
        t->levels = winograd_reserve(&l, held_outputs(p, s) / p->rows * t->tree, sizeof *t->levels);
    } else {
        t->tiles.v = winograd_reserve_planes(&l, strip, s->c, p->columns);
        /* A kernel may read all rows of its last block. Rows are an odd number of cache lines,
         * because those a power of two apart would fall into the same few sets of a cache. */
        const int64_t outputs = (count_round_up(s->o + p->rows, LANES) / LANES | 1) * LANES;
        t->tiles.d = winograd_reserve_planes(&l, strip, 1, outputs);
    }
    t->m = winograd_reserve_planes(&l, p->rows, p->columns, p->columns);
    t->steps = winograd_reserve(&l, strip / LANES, sizeof *t->steps);
    return l.arena.bytes;
}

size_t winograd_gradient_work_bytes(const struct gemm_kernel *p, const struct winograd_shape *s)
{
    struct thread_memory t;
    return lay_out_thread(p, s, NULL, &t);
}

size_t winograd_gradient_shared_bytes(const struct gemm_kernel *p, const struct winograd_shape *s)
{
    struct shared_memory m;
    return lay_out_shared(p, s, NULL, &m);
}

/* ---- products ---- */

/* Writes zeros for the tiles from n to a multiple of 16. */
static void clear_tiles(const struct winograd_planes *v, int64_t n, int64_t channels)
{
    const size_t bytes = (size_t)((count_round_up(n, LANES) - n) * v->columns) * sizeof(float);
    for (int64_t q = 0; q < POSITIONS && bytes; q++)
        for (int64_t k = 0; k < channels; k += v->columns)
            memset(winograd_planes_at(v, n, k) + q * v->position, 0, bytes);
}

static void fill_inputs(const struct winograd_shape *s, const void *x, int64_t first, int64_t n,
                        int64_t channels, const struct winograd_planes *v)
{
    winograd_transform_inputs(s, x, first, n, channels, v);
    clear_tiles(v, n, channels);
}

static void fill_gradients(const struct winograd_shape *s, const void *dy, int64_t first, int64_t n,
                           int64_t channels, const struct winograd_planes *d)
{
    winograd_transform_gradients(s, dy, first, n, channels, d);
    clear_tiles(d, n, channels);
}

/* Finds the steps of products of n * 16 tiles, whose gradients have rows of `columns` floats. */
static void find_steps(const struct gemm_kernel *p, int64_t columns, int64_t n,
                       struct gemm_step *steps)
{
    for (int64_t i = 0; i < n; i++)
        steps[i] = (struct gemm_step){.a = i * LANES * columns * (int64_t)sizeof(float),
                                      .b = i * (int64_t)gemm_kernel_step_bytes(p)};
}

/* Computes the products of a block at position q. a and b are its first tile at position 0. */
static void multiply(const struct gemm_kernel *p, const struct gradient_tiles *tiles,
                     const float *a, const float *b, int64_t q, const struct thread_memory *t,
                     int64_t n_steps)
{
    p->across(a + q * tiles->d.position, (size_t)tiles->d.columns * sizeof(float),
              b + q * tiles->v.position, t->steps, n_steps, t->m.first + q * t->m.position);
}

/* Copies gradients (rows, taps, pitch) of `columns` inputs into the layout of the weights, whose rows
 * have c inputs. */
static void unpack(const float *from, int64_t rows, int64_t columns, int64_t pitch, int64_t c,
                   float *to)
{
    for (int64_t r = 0; r < rows; r++, from += TAPS * pitch, to += TAPS * c)
        for (int64_t j = 0; j < columns; j++)
            for (int64_t k = 0; k < TAPS; k++)
                to[j * TAPS + k] = from[k * pitch + j];
}

/* ---- strip by strip ---- */

/* Stores or adds the gradient of n tiles for v's first channels, which are partial's first ones. It
 * prefetches the memory of the sums, which is larger and more scattered than the caches can
 * hold. */
static void multiply_strip(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const struct thread_memory *t, int64_t n, int64_t channels, bool add,
                           float *partial)
{
    const int64_t steps = count_divide_up(n, LANES), line = ARENA_ALIGNMENT / sizeof(float);
    const int64_t group = GROUP < p->columns ? p->columns : GROUP / p->columns * p->columns;
    find_steps(p, t->tiles.d.columns, steps, t->steps);
    for (int64_t from = 0; from < channels; from += group)
        for (int64_t o = 0; o < s->o; o += p->rows)
            for (int64_t k = from; k < channels && k < from + group; k += p->columns) {
                const int64_t rows = count_min(p->rows, s->o - o);
                const int64_t columns = count_min(p->columns, channels - k);
                float *to = partial + o * TAPS * s->c + k;
                const float *a = winograd_planes_at(&t->tiles.d, 0, o);
                const float *b = winograd_planes_at(&t->tiles.v, 0, k);
                for (int64_t q = 0; q < POSITIONS; q++) {
                    for (int64_t i = q; i < rows * TAPS; i += POSITIONS)
                        for (int64_t j = 0; j < columns; j += line)
                            __builtin_prefetch(to + i * s->c + j, 1);
                    multiply(p, &t->tiles, a, b, q, t, steps);
                }
                winograd_transform_products(&t->m, rows, columns, s->c, add, to);
            }
}

/* A task is a grain or, if there are fewer grains than threads, a grain and some channels of x. A
 * task computes the grain's strips in order. */
static void strips_gradient(const struct gemm_kernel *p, const struct winograd_shape *s,
                            const void *x, const void *dy, float *partials, float *grad,
                            const struct workspace *work)
{
    const int64_t all = winograd_grain_tiles(s), strip = strip_tiles(s);
    const int64_t blocks = count_divide_up(s->c, p->columns);
    const int64_t span =
        count_divide_up(blocks, count_min(blocks, count_divide_up(work->threads, s->grains))) *
        p->columns;
    const int64_t spans = count_divide_up(s->c, span);
#pragma omp parallel num_threads(work->threads)
    {
        struct thread_memory t;
        lay_out_thread(p, s, workspace_of_thread(work), &t);
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < s->grains * spans; i++) {
            const int64_t grain = i / spans, c = i % spans * span;
            const int64_t channels = count_min(span, s->c - c);
            const char *from = (const char *)x + c * (int64_t)winograd_value_bytes(s->bf16);
            for (int64_t at = 0; at < all; at += strip) {
                const int64_t n = count_min(strip, all - at), first = grain * all + at;
                fill_inputs(s, from, first, n, channels, &t.tiles.v);
                fill_gradients(s, dy, first, n, s->o, &t.tiles.d);
                multiply_strip(p, s, &t, n, channels, at > 0,
                               partials + grain * s->o * TAPS * s->c + c);
            }
        }
        p->end();
    }
    grains_sum_floats(partials, s->grains, s->o * TAPS * s->c, work->threads);
#pragma omp parallel for schedule(static) num_threads(work->threads)
    for (int64_t o = 0; o < s->o; o++)
        unpack(partials + o * TAPS * s->c, 1, s->c, s->c, s->c, grad + o * TAPS * s->c);
}

/* ---- held ---- */

/* Transforms a grain's tiles for group i of the inputs, or, after those, of the outputs. */
static void fill_group(const struct gemm_kernel *p, const struct winograd_shape *s,
                       const struct shared_memory *m, const char *x, const char *dy, int64_t i,
                       int64_t grain)
{
    const int64_t n = winograd_grain_tiles(s), value = (int64_t)winograd_value_bytes(s->bf16);
    if (i < m->inputs.groups) {
        const int64_t c = i * m->inputs.columns;
        const struct winograd_planes v = held_planes(&m->inputs, i, grain);
        fill_inputs(s, x + c * value, grain * n, n, count_min(m->inputs.columns, s->c - c), &v);
    } else {
        const int64_t group = i - m->inputs.groups, outputs = held_outputs(p, s),
                      o = group * outputs;
        const struct winograd_planes d = held_planes(&m->outputs, group, grain);
        fill_gradients(s, dy + o * value, grain * n, n, count_min(outputs, s->o - o), &d);
    }
}

/* Computes the gradient of the weights of a group of outputs and a group of inputs. Inputs of a grain
 * are read from memory once for all blocks of the group. */
static void held_group(const struct gemm_kernel *p, const struct winograd_shape *s,
                       const struct shared_memory *m, const struct thread_memory *t, int64_t group,
                       int64_t inputs, float *grad)
{
    const int64_t o = group * held_outputs(p, s), k = inputs * p->columns;
    const int64_t n = count_min(held_outputs(p, s), s->o - o), n_steps = strip_tiles(s) / LANES;
    for (int64_t g = 0; g < s->grains; g++) {
        const struct gradient_tiles tiles = {.v = held_planes(&m->inputs, inputs, g),
                                             .d = held_planes(&m->outputs, group, g)};
        for (int64_t row = 0; row < n; row += p->rows) {
            for (int64_t q = 0; q < POSITIONS; q++)
                multiply(p, &tiles, tiles.d.first + row, tiles.v.first, q, t, n_steps);
            winograd_transform_products(&t->m, p->rows, p->columns, p->columns, false, t->taps);
            grains_carry_block(t->taps, block_taps(p), t->levels + row / p->rows * t->tree,
                               block_taps(p), g, s->grains);
            if (g == s->grains - 1)
                unpack(t->taps, count_min(p->rows, n - row), count_min(p->columns, s->c - k),
                       p->columns, s->c, grad + ((o + row) * s->c + k) * TAPS);
        }
    }
}

/* A task is a group of outputs and, if these are fewer than threads need, a span of the groups of
 * inputs. */
static void held_gradient(const struct gemm_kernel *p, const struct winograd_shape *s,
                          const void *x, const void *dy, const struct shared_memory *m, float *grad,
                          const struct workspace *work)
{
    const int64_t outputs = m->outputs.groups, inputs = m->inputs.groups;
    const int64_t spans = count_min(inputs, count_divide_up(2 * work->threads, outputs));
#pragma omp parallel num_threads(work->threads)
    {
        struct thread_memory t;
        lay_out_thread(p, s, workspace_of_thread(work), &t);
        find_steps(p, m->outputs.columns, strip_tiles(s) / LANES, t.steps);
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < (inputs + outputs) * s->grains; i++)
            fill_group(p, s, m, x, dy, i / s->grains, i % s->grains);
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < outputs * spans; i++) {
            const int64_t group = i / spans, span = i % spans;
            for (int64_t j = inputs * span / spans; j < inputs * (span + 1) / spans; j++)
                held_group(p, s, m, &t, group, j, grad);
        }
        p->end();
    }
}

void winograd_gradient(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                       const void *dy, void *shared, float *grad, const struct workspace *work)
{
    struct shared_memory m;
    lay_out_shared(p, s, shared, &m);
    if (is_held(s))
        held_gradient(p, s, x, dy, &m, grad, work);
    else
        strips_gradient(p, s, x, dy, m.partials, grad, work);
}
