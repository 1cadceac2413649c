#include "engine/winograd.h"

#include <assert.h>

#include "engine/winograd_memory.h"

enum {
    TILE = WINOGRAD_TILE,
    POSITIONS = WINOGRAD_POSITIONS,
    OUTPUTS = WINOGRAD_OUTPUTS,
    LANES = WINOGRAD_LANES /* also the depth of a product of floats */
};

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* ---- how tiles are shared out ---- */

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
    const int64_t all = winograd_grain_tiles(s), most = 32 + (s->c + s->o) / 16;
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
    return part / k->parts * winograd_grain_tiles(s) + part % k->parts * k->part;
}

/* Returns the output channels of a unit: whole blocks and whole groups of LANES, since transforms
 * read and write groups. A unit of held weights is at least as much as is transformed together. */
static int64_t unit_channels(const struct gemm_kernel *p)
{
    int64_t unit = p->columns;
    while (unit % LANES)
        unit += p->columns;
    return unit;
}

static int64_t held_channels(const struct gemm_kernel *p)
{
    return count_round_up(OUTPUTS, unit_channels(p));
}

/* There are two ways, which end in the same bits.
 *
 * Usually a task is a strip of tiles. The transformed weights of all channels are in memory.
 *
 * Small maps with many channels are "held": they have fewer tiles than weights, and the transformed
 * weights would take as long to pass through memory as products take. All tiles of the batch are
 * transformed first, into memory that the threads share. A task then is a unit of output channels,
 * whose weights it transforms in the cache. */
static bool is_held(const struct winograd_shape *s)
{
    return winograd_tiles(s) <= s->o;
}

/* ---- memory ---- */

static int64_t packed_position(const struct gemm_kernel *p, int64_t c, int64_t o)
{
    return winograd_position_floats(count_round_up(c, LANES) * count_round_up(o, p->columns));
}

/* The memory that products read and write. */
struct forward_memory {
    struct winograd_planes v, m; /* inputs; products, in strips those of a strip, else of a unit */
    struct gemm_step *steps;
    float *unit; /* the transformed weights of a unit; not in strips */
};

/* These place the parts of the memory, or only compute its size if memory is NULL. They return its
 * bytes: those of a thread that computes strips, of the held tiles, and of a thread that computes
 * units. */
static size_t lay_out_strip(const struct gemm_kernel *p, const struct winograd_shape *s,
                            unsigned char *memory, struct forward_memory *f)
{
    const struct winograd_cut k = cut(s, 1);
    const int64_t rows = count_round_up(k.strip * k.part, p->rows);
    struct winograd_layout l = {.memory = memory};
    f->v = winograd_reserve_planes(&l, rows, s->c, LANES);
    f->m = winograd_reserve_planes(&l, rows, s->o, p->columns);
    f->steps = winograd_reserve(&l, count_divide_up(s->c, LANES), sizeof *f->steps);
    return l.arena.bytes;
}

static size_t lay_out_tiles(const struct gemm_kernel *p, const struct winograd_shape *s,
                            unsigned char *memory, struct forward_memory *f)
{
    struct winograd_layout l = {.memory = memory};
    /* The last block of a task reads all its rows, and a task begins at any tile. */
    f->v = winograd_reserve_planes(&l, winograd_tiles(s) + p->rows - 1, s->c, LANES);
    return l.arena.bytes;
}

static size_t lay_out_unit(const struct gemm_kernel *p, const struct winograd_shape *s,
                           unsigned char *memory, struct forward_memory *f)
{
    const int64_t unit = held_channels(p);
    struct winograd_layout l = {.memory = memory};
    f->m =
        winograd_reserve_planes(&l, count_round_up(winograd_tiles(s), p->rows), unit, p->columns);
    f->unit = winograd_reserve(&l, POSITIONS * packed_position(p, s->c, unit), sizeof *f->unit);
    f->steps = winograd_reserve(&l, count_divide_up(s->c, LANES), sizeof *f->steps);
    return l.arena.bytes;
}

/* Returns the bytes of a thread's workspace for one direction. */
static size_t pass_bytes(const struct gemm_kernel *p, const struct winograd_shape *s, int threads)
{
    struct forward_memory f;
    struct arena held = {0};
    if (is_held(s)) {
        const size_t lines = lay_out_tiles(p, s, NULL, &f) / ARENA_ALIGNMENT, n = (size_t)threads;
        arena_reserve(&held, lines / n + (lines % n > 0), ARENA_ALIGNMENT);
        arena_reserve(&held, lay_out_unit(p, s, NULL, &f), 1);
    }
    return larger(lay_out_strip(p, s, NULL, &f), held.bytes);
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
    return winograd_grain_tiles(s) * s->grains;
}

/* Packed weights. */
struct packed_weights {
    bool at_use; /* the weights are transformed by the pass that uses them */
    struct winograd_weights all;
    _Alignas(ARENA_ALIGNMENT) float transformed[]; /* [36][o / columns][c / 16][16][columns] */
};

size_t winograd_packed_bytes(const struct gemm_kernel *p, const struct winograd_shape *s)
{
    const size_t bytes = POSITIONS * sizeof(float);
    return sizeof(struct packed_weights) + larger((size_t)packed_position(p, s->c, s->o) * bytes,
                                                  (size_t)packed_position(p, s->o, s->c) * bytes);
}

size_t winograd_work_bytes(const struct gemm_kernel *p, const struct winograd_shape *s, int threads)
{
    const struct winograd_shape back = exchanged(s);
    assert(p->values == GEMM_FLOAT && !gemm_kernel_check(p));
    return larger(pass_bytes(p, s, threads), pass_bytes(p, &back, threads));
}

/* ---- weights ---- */

/* Transforms block b of 16 inputs and p->columns outputs. The blocks of an output follow each
 * other. */
static void transform_block(const struct gemm_kernel *p, int64_t c, int64_t o,
                            const struct winograd_weights *all, int64_t b, int64_t position,
                            float *to)
{
    const int64_t rows = count_divide_up(c, LANES), from = b % rows * LANES;
    for (int64_t j = 0; j < p->columns; j += OUTPUTS) {
        const int64_t output = b / rows * p->columns + j;
        const int64_t lanes = count_min(OUTPUTS, p->columns - j);
        struct winograd_weights w = *all;
        w.first += from * w.in + output * w.out;
        winograd_transform_weights(&w, count_min(c - from, LANES), count_min(o - output, lanes),
                                   lanes, p->columns, position, to + b * LANES * p->columns + j);
    }
}

static int64_t blocks_of_weights(const struct gemm_kernel *p, int64_t c, int64_t o)
{
    return count_divide_up(o, p->columns) * count_divide_up(c, LANES);
}

static void pack(const struct gemm_kernel *p, const struct winograd_shape *s,
                 const struct winograd_weights *all, bool at_use, void *packed, int threads)
{
    struct packed_weights *to = packed;
    *to = (struct packed_weights){.at_use = at_use, .all = *all};
    if (at_use)
        return;
    const int64_t position = packed_position(p, s->c, s->o);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks_of_weights(p, s->c, s->o); b++)
        transform_block(p, s->c, s->o, all, b, position, to->transformed);
}

void winograd_pack_forward(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const float *weight, bool once, void *packed, int threads)
{
    const struct winograd_weights w = {.first = weight, .in = 9, .out = s->c * 9, .bf16 = s->bf16};
    pack(p, s, &w, once && is_held(s), packed, threads);
}

void winograd_pack_backward(const struct gemm_kernel *p, const struct winograd_shape *s,
                            const float *weight, bool once, void *packed, int threads)
{
    const struct winograd_weights w = {
        .first = weight, .in = s->c * 9, .out = 9, .backward = true, .bf16 = s->bf16};
    const struct winograd_shape back = exchanged(s);
    pack(p, &back, &w, once && is_held(&back), packed, threads);
}

/* ---- forward ---- */

static void find_steps(const struct gemm_kernel *p, const struct winograd_shape *s,
                       const struct forward_memory *f)
{
    for (int64_t i = 0; i < count_divide_up(s->c, LANES); i++)
        f->steps[i] = (struct gemm_step){.a = i * f->v.rows * LANES * (int64_t)sizeof(float),
                                         .b = i * (int64_t)gemm_kernel_step_bytes(p)};
}

/* Multiplies n tiles, from tile `first` of v on, by the weights of m's output channels `from` to
 * `until` - 1, one position after the other, so that a position's tiles stay in the cache while its
 * weights stream past them. The products are m's first rows. */
static void multiply_tiles(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const struct forward_memory *f, const float *weights, int64_t position,
                           int64_t first, int64_t n, int64_t from, int64_t until)
{
    const int64_t inputs = count_round_up(s->c, LANES);
    for (int64_t q = 0; q < POSITIONS; q++)
        for (int64_t k = from; k < until; k += p->columns)
            for (int64_t t = 0; t < n; t += p->rows)
                p->block(winograd_planes_at(&f->v, first + t, 0) + q * f->v.position,
                         LANES * sizeof(float), weights + q * position + k * inputs, f->steps,
                         inputs / LANES, winograd_planes_at(&f->m, t, k) + q * f->m.position);
}

/* Where the results go. */
struct forward_results {
    void *y;
    double *sums; /* or NULL */
    bool add;
};

/* Transforms the products of the parts from `part` to end - 1 for the output channels `from` to
 * `until` - 1, which are m's first rows and channels. */
static void transform_parts(const struct winograd_shape *s, const struct winograd_cut *k,
                            const struct winograd_planes *m, int64_t part, int64_t end,
                            int64_t from, int64_t until, const struct forward_results *r)
{
    const int64_t first = part_tile(s, k, part);
    for (int64_t j = part; j < end; j++) {
        const int64_t at = part_tile(s, k, j), n = part_tile(s, k, j + 1) - at;
        const struct winograd_planes rows = winograd_planes_from(m, at - first, 0);
        winograd_transform_outputs(s, &rows, at, n, from, until, r->y,
                                   r->sums ? r->sums + j * 2 * s->o : NULL, r->add);
    }
}

/* A task is a strip or, if there are fewer strips than threads, some output channels of a strip:
 * then each of a strip's tasks transforms the inputs for itself. */
static void forward_strips(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const void *x, const float *weights, const struct forward_results *r,
                           const struct workspace *work)
{
    const struct winograd_cut k = cut(s, work->threads);
    const int64_t unit = unit_channels(p), units = count_divide_up(s->o, unit);
    const int64_t shares = count_min(units, count_divide_up(work->threads, k.strips));
#pragma omp parallel num_threads(work->threads)
    {
        struct forward_memory f;
        lay_out_strip(p, s, workspace_of_thread(work), &f);
        find_steps(p, s, &f);
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < k.strips * shares; i++) {
            const int64_t strip = i / shares, share = i % shares;
            const int64_t from = units * share / shares * unit;
            const int64_t until = count_min(units * (share + 1) / shares * unit, s->o);
            const int64_t part = strip * k.strip, end = count_min(part + k.strip, k.count);
            const int64_t first = part_tile(s, &k, part), n = part_tile(s, &k, end) - first;
            winograd_transform_inputs(s, x, first, n, s->c, &f.v);
            multiply_tiles(p, s, &f, weights, packed_position(p, s->c, s->o), 0, n, from, until);
            const struct winograd_planes m = winograd_planes_from(&f.m, 0, from);
            transform_parts(s, &k, &m, part, end, from, until, r);
        }
        p->end();
    }
}

/* A task is a unit of output channels or, if there are fewer units than threads, some parts of the
 * batch for a unit: then each of a unit's tasks transforms the weights for itself. */
static void forward_held(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                         const struct winograd_weights *all, const struct forward_results *r,
                         const struct workspace *work)
{
    const struct winograd_cut k = cut(s, work->threads);
    const int64_t tiles = winograd_tiles(s), unit = held_channels(p);
    const int64_t position = packed_position(p, s->c, unit), units = count_divide_up(s->o, unit);
    const int64_t shares = count_min(k.count, count_divide_up(work->threads, units));
#pragma omp parallel num_threads(work->threads)
    {
        struct forward_memory f;
        const size_t shared = lay_out_tiles(p, s, work->memory, &f);
        const size_t each = lay_out_unit(p, s, NULL, &f);
        lay_out_unit(p, s, work->memory + shared + each * (size_t)omp_get_thread_num(), &f);
        find_steps(p, s, &f);
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t t = 0; t < tiles; t += p->rows) {
            const struct winograd_planes v = winograd_planes_from(&f.v, t, 0);
            winograd_transform_inputs(s, x, t, count_min(p->rows, tiles - t), s->c, &v);
        }
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < units * shares; i++) {
            const int64_t from = i / shares * unit, until = count_min(from + unit, s->o);
            const int64_t part = k.count * (i % shares) / shares;
            const int64_t end = k.count * (i % shares + 1) / shares;
            const int64_t first = part_tile(s, &k, part), n = part_tile(s, &k, end) - first;
            struct winograd_weights w = *all;
            w.first += from * w.out;
            for (int64_t b = 0; b < blocks_of_weights(p, s->c, until - from); b++)
                transform_block(p, s->c, until - from, &w, b, position, f.unit);
            multiply_tiles(p, s, &f, f.unit, position, first, n, 0, until - from);
            transform_parts(s, &k, &f.m, part, end, from, until, r);
        }
        p->end();
    }
}

void winograd_forward(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                      const void *packed, void *y, double *sums, bool add,
                      const struct workspace *work)
{
    const struct packed_weights *weights = packed;
    const struct forward_results r = {.y = y, .sums = sums, .add = add};
    if (weights->at_use)
        forward_held(p, s, x, &weights->all, &r, work);
    else
        forward_strips(p, s, x, weights->transformed, &r, work);
}

int64_t winograd_sum_rows(const struct winograd_shape *s)
{
    return cut(s, 1).count;
}
