#include "engine/winograd.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/count.h"
#include "engine/winograd_transform.h"

enum {
    TILE = WINOGRAD_TILE,
    POSITIONS = WINOGRAD_POSITIONS,
    OUTPUTS = WINOGRAD_OUTPUTS,
    LANES = WINOGRAD_LANES, /* also the depth of a product of floats */
    GROUP = 64, /* channels, about, whose inputs stay in the cache while gradients pass */
    LINE = 16   /* floats of a cache line */
};

/* ---- how tiles are shared out ---- */

static int64_t tiles_per_grain(const struct winograd_shape *s)
{
    return s->images / s->grains * count_divide_up(s->h, TILE) * count_divide_up(s->w, TILE);
}

/* How the forward pass divides the batch. It divides the batch into parts, each within one grain,
 * which depend on the shape alone. It computes one strip at a time, which is one part, or the parts
 * of some whole small grains. The number of tiles of a part grows with the number of channels:
 * narrow layers then stay in the second-level cache, and wide ones, whose weights do not fit there,
 * read the weights seldom enough. */
struct winograd_cut {
    int64_t part, parts;   /* tiles of a part (at most); parts of a grain */
    int64_t count;         /* parts of the batch */
    int64_t strip, strips; /* number of parts of a strip, and of strips of the batch */
};

static struct winograd_cut cut(const struct winograd_shape *s, int threads)
{
    const int64_t all = tiles_per_grain(s), most = 32 + (s->c + s->o) / 16;
    struct winograd_cut k;
    k.part = count_min(all, count_round_up(count_divide_up(all, count_divide_up(all, most)), 8));
    k.parts = count_divide_up(all, k.part);
    k.count = k.parts * s->grains;
    const int64_t strips = count_divide_up(k.count, k.parts > 1 ? 1 : most / all);
    k.strip = count_divide_up(k.count, count_round_up(strips, threads));
    k.strips = count_divide_up(k.count, k.strip);
    return k;
}

/* Returns the first tile of a part. For part `count`, returns the number of all tiles. */
static int64_t part_tile(const struct winograd_shape *s, const struct winograd_cut *k, int64_t part)
{
    return part / k->parts * tiles_per_grain(s) + part % k->parts * k->part;
}

/* Returns the tiles of a strip for the gradient of the weights. Such a strip is within one grain,
 * and has whole steps of products, which are sums over tiles here. More tiles would not stay in the
 * cache. */
static int64_t gradient_tiles(const struct winograd_shape *s)
{
    const int64_t all = tiles_per_grain(s), most = 64;
    return count_round_up(count_divide_up(all, count_divide_up(all, most)), LANES);
}

/* ---- memory ---- */

/* Returns the floats from one position to the next. They are a cache line more than the data,
 * because otherwise 36 streams of stores would fall into the same few sets of a cache. */
static int64_t position_floats(int64_t data)
{
    return data + LINE;
}

static int64_t packed_position(const struct gemm_kernel *p, int64_t c, int64_t o)
{
    return position_floats(count_round_up(c, LANES) * count_round_up(o, p->columns));
}

/* A thread's memory while its parts are placed. */
struct winograd_layout {
    unsigned char *memory; /* NULL: the caller only needs the size */
    struct arena arena;
};

static void *reserve(struct winograd_layout *l, int64_t count, size_t size)
{
    const size_t at = arena_reserve(&l->arena, (size_t)count, size);
    return l->memory ? l->memory + at : NULL;
}

static struct winograd_planes planes(struct winograd_layout *l, int64_t rows, int64_t channels,
                                     int64_t columns)
{
    struct winograd_planes p = {
        .rows = rows, .columns = columns, .channels = count_round_up(channels, columns)};
    p.position = position_floats(rows * p.channels);
    p.first = reserve(l, POSITIONS * p.position, sizeof *p.first);
    return p;
}

/* A thread's memory in the forward pass. */
struct winograd_forward_memory {
    struct winograd_planes v, m; /* inputs; products */
    struct gemm_step *steps;
};

/* Places the parts of the memory, or only computes its size if memory is NULL. Returns its
 * bytes. */
static size_t forward_memory(const struct gemm_kernel *p, const struct winograd_shape *s,
                             unsigned char *memory, struct winograd_forward_memory *f)
{
    const struct winograd_cut k = cut(s, 1);
    const int64_t rows = count_round_up(k.strip * k.part, p->rows);
    struct winograd_layout l = {.memory = memory};
    f->v = planes(&l, rows, s->c, LANES);
    f->m = planes(&l, rows, s->o, p->columns);
    f->steps = reserve(&l, count_divide_up(s->c, LANES), sizeof *f->steps);
    return l.arena.bytes;
}

/* A thread's memory for the gradient of the weights. */
struct winograd_gradient_memory {
    struct winograd_planes v; /* inputs */
    struct winograd_planes d; /* outputs' gradients, which lie across: rows are tiles */
    struct winograd_planes m; /* products of one block */
    struct gemm_step *steps;
};

static size_t gradient_memory(const struct gemm_kernel *p, const struct winograd_shape *s,
                              unsigned char *memory, struct winograd_gradient_memory *g)
{
    const int64_t tiles = gradient_tiles(s);
    struct winograd_layout l = {.memory = memory};
    g->v = planes(&l, tiles, s->c, p->columns);
    /* A kernel may read all rows of its last block. Rows are an odd number of cache lines, because
     * those a power of two apart would fall into the same few sets of a cache. */
    g->d = planes(&l, tiles, 1, (count_round_up(s->o + p->rows, LANES) / LANES | 1) * LANES);
    g->m = planes(&l, p->rows, p->columns, p->columns);
    g->steps = reserve(&l, tiles / LANES, sizeof *g->steps);
    return l.arena.bytes;
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static struct winograd_shape exchanged(const struct winograd_shape *s)
{
    struct winograd_shape t = *s;
    t.c = s->o;
    t.o = s->c;
    return t;
}

/* Returns true if at least half of the outputs of the tiles are inside the map, because Winograd's
 * method does not pay otherwise: maps of 3 or 6 a side gain a quarter, those of 2 or 5 lose. With
 * fewer than LANES channels, some lanes would be empty. */
bool winograd_pays(const struct winograd_shape *s)
{
    const int64_t tiles = count_divide_up(s->h, TILE) * count_divide_up(s->w, TILE);
    return s->c >= LANES && s->o >= LANES && 2 * s->h * s->w > tiles * TILE * TILE;
}

int64_t winograd_tiles(const struct winograd_shape *s)
{
    return tiles_per_grain(s) * s->grains;
}

size_t winograd_packed_bytes(const struct gemm_kernel *p, const struct winograd_shape *s)
{
    const size_t bytes = POSITIONS * sizeof(float);
    return larger((size_t)packed_position(p, s->c, s->o) * bytes,
                  (size_t)packed_position(p, s->o, s->c) * bytes);
}

size_t winograd_work_bytes(const struct gemm_kernel *p, const struct winograd_shape *s)
{
    const struct winograd_shape back = exchanged(s);
    struct winograd_forward_memory f;
    struct winograd_gradient_memory g;
    assert(p->values == GEMM_FLOAT && !gemm_kernel_check(p));
    return larger(larger(forward_memory(p, s, NULL, &f), forward_memory(p, &back, NULL, &f)),
                  gradient_memory(p, s, NULL, &g));
}

/* ---- weights ---- */

/* Packs weights as [36][o / columns][c / 16][16][columns]. */
static void pack(const struct gemm_kernel *p, int64_t c, int64_t o,
                 const struct winograd_weights *all, float *packed, int threads)
{
    const int64_t position = packed_position(p, c, o), rows = count_divide_up(c, LANES);
    const int64_t blocks = count_divide_up(o, p->columns) * rows, block = LANES * p->columns;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t j = 0; j < p->columns; j += OUTPUTS) {
            const int64_t to = b / rows * p->columns + j, from = b % rows * LANES;
            const int64_t lanes = count_min(OUTPUTS, p->columns - j);
            struct winograd_weights w = *all;
            w.first += from * w.in + to * w.out;
            winograd_transform_weights(&w, count_min(c - from, LANES), count_min(o - to, lanes),
                                       lanes, p->columns, position, packed + b * block + j);
        }
}

void winograd_pack_forward(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const float *weight, float *packed, int threads)
{
    const struct winograd_weights w = {.first = weight, .in = 9, .out = s->c * 9, .bf16 = s->bf16};
    pack(p, s->c, s->o, &w, packed, threads);
}

void winograd_pack_backward(const struct gemm_kernel *p, const struct winograd_shape *s,
                            const float *weight, float *packed, int threads)
{
    const struct winograd_weights w = {
        .first = weight, .in = s->c * 9, .out = 9, .backward = true, .bf16 = s->bf16};
    pack(p, s->o, s->c, &w, packed, threads);
}

/* ---- forward ---- */

/* Multiplies n tiles by the weights of the output channels `from` to `until` - 1, one position after
 * the other, so that a position's tiles stay in the cache while its weights stream past them. */
static void multiply_tiles(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const struct winograd_forward_memory *f, const float *packed, int64_t n,
                           int64_t from, int64_t until)
{
    const int64_t inputs = count_round_up(s->c, LANES),
                  packed_next = packed_position(p, s->c, s->o);
    for (int64_t i = 0; i < inputs / LANES; i++)
        f->steps[i] = (struct gemm_step){.a = i * f->v.rows * LANES * (int64_t)sizeof(float),
                                         .b = i * (int64_t)gemm_kernel_step_bytes(p)};
    for (int64_t q = 0; q < POSITIONS; q++)
        for (int64_t k = from; k < until; k += p->columns)
            for (int64_t t = 0; t < n; t += p->rows)
                p->block(winograd_planes_at(&f->v, t, 0) + q * f->v.position, LANES * sizeof(float),
                         packed + q * packed_next + k * inputs, f->steps, inputs / LANES,
                         winograd_planes_at(&f->m, t, k) + q * f->m.position);
}

/* A task is a strip or, if there are fewer strips than threads, some output channels of a strip:
 * then each of a strip's tasks transforms the inputs for itself. */
void winograd_forward(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                      const float *packed, void *y, double *sums, bool add,
                      const struct workspace *work)
{
    const struct winograd_cut k = cut(s, work->threads);
    int64_t unit = p->columns;
    while (unit % LANES)
        unit += p->columns;
    const int64_t units = count_divide_up(s->o, unit);
    const int64_t shares = count_min(units, count_divide_up(work->threads, k.strips));
#pragma omp parallel num_threads(work->threads)
    {
        struct winograd_forward_memory f;
        forward_memory(p, s, workspace_of_thread(work), &f);
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < k.strips * shares; i++) {
            const int64_t strip = i / shares, share = i % shares;
            const int64_t from = units * share / shares * unit;
            const int64_t until = count_min(units * (share + 1) / shares * unit, s->o);
            const int64_t part = strip * k.strip, end = count_min(part + k.strip, k.count);
            const int64_t first = part_tile(s, &k, part), n = part_tile(s, &k, end) - first;
            winograd_transform_inputs(s, x, first, n, s->c, &f.v);
            multiply_tiles(p, s, &f, packed, n, from, until);
            for (int64_t j = part; j < end; j++) {
                const int64_t at = part_tile(s, &k, j);
                winograd_transform_outputs(s, &f.m, at - first, at, part_tile(s, &k, j + 1) - at,
                                           from, until, y, sums ? sums + j * 2 * s->o : NULL, add);
            }
        }
        p->end();
    }
}

int64_t winograd_sum_rows(const struct winograd_shape *s)
{
    return cut(s, 1).count;
}

/* ---- the gradient of the weights ---- */

/* Writes zeros for the tiles from n to a multiple of 16. */
static void clear_tiles(const struct winograd_planes *v, int64_t n, int64_t channels)
{
    const size_t bytes = (size_t)((count_round_up(n, LANES) - n) * v->columns) * sizeof(float);
    for (int64_t q = 0; q < POSITIONS && bytes; q++)
        for (int64_t k = 0; k < channels; k += v->columns)
            memset(winograd_planes_at(v, n, k) + q * v->position, 0, bytes);
}

/* Stores or adds the gradient of n tiles for v's first channels, which are partial's first ones. It
 * prefetches the memory of the sums, which is larger and more scattered than the caches can
 * hold. */
static void multiply_gradients(const struct gemm_kernel *p, const struct winograd_shape *s,
                               const struct winograd_gradient_memory *g, int64_t n,
                               int64_t channels, bool add, float *partial)
{
    const int64_t steps = count_divide_up(n, LANES);
    const int64_t next = g->d.columns * (int64_t)sizeof(float);
    for (int64_t i = 0; i < steps; i++)
        g->steps[i] =
            (struct gemm_step){.a = i * LANES * next, .b = i * (int64_t)gemm_kernel_step_bytes(p)};
    const int64_t group = GROUP < p->columns ? p->columns : GROUP / p->columns * p->columns;
    for (int64_t from = 0; from < channels; from += group)
        for (int64_t o = 0; o < s->o; o += p->rows)
            for (int64_t k = from; k < channels && k < from + group; k += p->columns) {
                const int64_t rows = count_min(p->rows, s->o - o);
                const int64_t columns = count_min(p->columns, channels - k);
                float *to = partial + o * 9 * s->c + k;
                for (int64_t q = 0; q < POSITIONS; q++) {
                    for (int64_t i = q; i < rows * 9; i += POSITIONS)
                        for (int64_t j = 0; j < columns; j += LINE)
                            __builtin_prefetch(to + i * s->c + j, 1);
                    p->across(winograd_planes_at(&g->d, 0, o) + q * g->d.position, (size_t)next,
                              winograd_planes_at(&g->v, 0, k) + q * g->v.position, g->steps, steps,
                              g->m.first + q * g->m.position);
                }
                winograd_transform_products(&g->m, rows, columns, s->c, add, to);
            }
}

/* A task is a grain or, if there are fewer grains than threads, a grain and some channels of x. A
 * task computes the grain's strips in order. */
void winograd_backward_weights(const struct gemm_kernel *p, const struct winograd_shape *s,
                               const void *x, const void *dy, float *partials,
                               const struct workspace *work)
{
    const int64_t all = tiles_per_grain(s), strip = gradient_tiles(s);
    const int64_t blocks = count_divide_up(s->c, p->columns);
    const int64_t span =
        count_divide_up(blocks, count_min(blocks, count_divide_up(work->threads, s->grains))) *
        p->columns;
    const int64_t spans = count_divide_up(s->c, span);
#pragma omp parallel num_threads(work->threads)
    {
        struct winograd_gradient_memory g;
        gradient_memory(p, s, workspace_of_thread(work), &g);
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < s->grains * spans; i++) {
            const int64_t grain = i / spans, c = i % spans * span;
            const int64_t channels = count_min(span, s->c - c);
            for (int64_t t = 0; t < all; t += strip) {
                const int64_t n = count_min(strip, all - t), first = grain * all + t;
                winograd_transform_inputs(
                    s, (const char *)x + c * (int64_t)winograd_value_bytes(s->bf16), first, n,
                    channels, &g.v);
                clear_tiles(&g.v, n, channels);
                winograd_transform_gradients(s, dy, first, n, &g.d);
                clear_tiles(&g.d, n, s->o);
                multiply_gradients(p, s, &g, n, channels, t > 0,
                                   partials + grain * s->o * 9 * s->c + c);
            }
        }
        p->end();
    }
}
