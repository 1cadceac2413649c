#include "engine/conv_gradient.h"

#include <assert.h>
#include <stdbool.h>
#include <string.h>

#include "base/arena.h"
#include "base/count.h"
#include "engine/grains.h"
#include "engine/panel.h"
#include "engine/row_tiles.h"

/* The gradient is a sum over pixels. Rows of A are output channels and run through the pixels of
 * dy, so they lie across the map; for a matrix unit, dy is transposed. Columns of B are input
 * channels, and a tap is an offset in the panel of x. Until the last step, sums are stored in
 * blocks in the layout in which they leave the registers: [input channels / columns][tap][output
 * channels / rows][rows][columns].
 *
 * Small maps with many channels are "held". They have more weights than pixels, so sums should not
 * pass through memory once for each grain. All of dy is copied into panels first. A task then holds
 * the panels of some input channels for a group of grains, and adds up each block over these grains
 * before it goes on to the next block. Each part of dy is read from memory once for a task.
 *
 * Otherwise a task is a grain, in tiles of rows. It copies one tile after another into panels, and
 * adds its sums. A tile has enough pixels that sums are added seldom, and few enough that a block of
 * x stays in the first-level cache while all of dy passes. */
enum {
    HELD_BYTES = 704 << 10,
    TILE_BYTES = 2 << 10, /* of a channel */
    LINE_STEPS = 16,
    LEVELS = 64,
    MOST_RANGE = 128 /* input channels that are held */
};

struct gradient {
    const struct precision *v;
    struct conv_shape s;
    struct panel_window x, dy;
    bool folded;
    int64_t group; /* grains that a task holds; 0: a task is one grain, in tiles */
    int64_t range; /* input channels of a task */
    struct row_tiles tiles;
};

/* Returns the window for the task's input channels, from c0 on. */
static struct panel_window window_from(const struct gradient *g, int64_t c0)
{
    struct panel_window w = g->x;
    w.c = g->s.c - c0 < g->range ? g->s.c - c0 : g->range;
    return w;
}

/* Sets the layouts of a tile's panels: that of x from channel c0 on, and that of dy, which has as
 * many images as x, including zero images. */
static void lay_out(const struct gradient *g, int64_t c0, int64_t n, int64_t rows, struct panel *x,
                    struct panel *dy)
{
    const struct panel_window window = window_from(g, c0);
    panel_lay_out(x, &window, g->v, PANEL_B, rows, g->s.ow, n);
    panel_lay_out(dy, &g->dy, g->v, g->v->product->across ? PANEL_ACROSS : PANEL_TRANSPOSED, rows,
                  g->s.ow, x->n);
}

/* Returns the bytes of a channel of dy in a tile. */
static size_t bytes_of_tile(const void *of, int64_t n, int64_t rows)
{
    const struct gradient *g = of;
    return (size_t)(n * rows * g->s.ow) * gemm_kernel_value_bytes(g->v->product);
}

/* Returns the bytes of a block of rows of dy in a panel. */
static size_t block_of_dy(const struct gradient *g, const struct panel *dy)
{
    return g->v->product->across ? dy->plane : (size_t)g->v->product->rows * dy->plane;
}

/* Returns the bytes that a block of sums of one grain reads. */
static size_t held_bytes(const struct gradient *g)
{
    struct panel x, dy;
    lay_out(g, 0, g->s.images / g->s.grains, g->s.oh, &x, &dy);
    return x.bytes + (size_t)precision_halves(g->v) * block_of_dy(g, &dy);
}

/* Returns the shape to compute with. Where each window is a single pixel, the pixels of a grain may
 * be arranged in lines of any length, and lines that fill whole steps waste no part of a step. */
static struct conv_shape with_whole_steps(const struct conv_shape *s, int64_t depth)
{
    struct conv_shape flat = *s;
    const int64_t pixels = s->images / s->grains * s->h * s->w;
    if (s->kernel > 1 || s->stride > 1 || s->padding)
        return flat;
    int64_t line = LINE_STEPS * depth;
    while (line && pixels % line)
        line -= depth;
    if (!line && pixels > 2 * LINE_STEPS * depth)
        return flat;
    flat.images = s->grains;
    flat.w = flat.ow = line ? line : pixels;
    flat.h = flat.oh = pixels / flat.w;
    return flat;
}

/* Widens the range of a task's channels as far as that pays, and returns how many grains the task
 * can hold, or 0 if it cannot hold several. */
static int64_t grains_held(struct gradient *g, int threads)
{
    const struct conv_shape *s = &g->s;
    const bool power_of_two = !(s->grains & (s->grains - 1));
    /* With one tap, a block of dy is read for few products unless there are more channels. */
    while (g->x.ny * g->x.nx == 1 && 2 * g->range <= s->c && g->range < MOST_RANGE &&
           s->c / (2 * g->range) * s->grains >= 2 * threads) {
        g->range *= 2;
        if (held_bytes(g) > HELD_BYTES) {
            g->range /= 2;
            break;
        }
    }
    int64_t group = 1;
    while (power_of_two && 2 * group <= s->grains &&
           2 * (size_t)group * held_bytes(g) <= HELD_BYTES)
        group *= 2;
    return group > 1 ? group : 0;
}

static struct gradient make_gradient(const struct precision *v, const struct conv_shape *given,
                                     int threads)
{
    const int64_t columns = v->product->columns;
    struct gradient g = {.v = v, .s = with_whole_steps(given, v->product->depth)};
    const struct conv_shape *s = &g.s;
    g.x = (struct panel_window){.h = s->h,
                                .w = s->w,
                                .c = s->c,
                                .pitch = s->c,
                                .step = s->stride,
                                .y0 = -conv_row_padding(s),
                                .x0 = -s->padding,
                                .ny = conv_rows(s),
                                .nx = s->kernel};
    g.dy = (struct panel_window){
        .h = s->oh, .w = s->ow, .c = s->o, .pitch = s->o, .step = 1, .ny = 1, .nx = 1};
    struct panel x;
    panel_lay_out(&x, &g.x, v, PANEL_B, 1, 1, 1);
    g.folded = x.folded;
    g.range = g.folded || s->c < columns ? s->c : columns;
    const int64_t even = x.n; /* pairs of images cost no more than single ones */
    if (bytes_of_tile(&g, s->images / s->grains, s->oh) <= TILE_BYTES) {
        /* The sums over a grain are the same whether it is held or is a tile, so the number of
         * threads may decide that. */
        g.tiles = (struct row_tiles){.grid_rows = s->oh,
                                     .images_per_grain = s->images / s->grains,
                                     .n = s->images / s->grains,
                                     .rows = s->oh,
                                     .per_image = 1,
                                     .per_grain = 1,
                                     .count = s->grains};
        g.group = grains_held(&g, threads);
        if (g.group)
            return g;
    } else
        g.tiles =
            row_tiles_cut(s->images, s->grains, s->oh, even, 1, TILE_BYTES, bytes_of_tile, &g);
    g.range = s->c;
    /* If grains are few, threads divide the input channels between them; each then transposes
     * dy. */
    if (!g.folded)
        g.range =
            count_round_up(count_divide_up(s->c, count_divide_up(2 * threads, s->grains)), columns);
    return g;
}

/* The numbers of blocks of sums. */
struct gradient_blocks {
    int64_t outputs, taps, inputs;
    int64_t size; /* floats of a block */
};

static struct gradient_blocks blocks_of(const struct gradient *g, int64_t c)
{
    const struct gemm_kernel *product = g->v->product;
    const int64_t k = g->s.kernel, rows = conv_rows(&g->s);
    return (struct gradient_blocks){.outputs = count_divide_up(g->s.o, product->rows),
                                    .taps = g->folded ? rows : rows * k,
                                    .inputs =
                                        count_divide_up(g->folded ? c * k : c, product->columns),
                                    .size = product->rows * product->columns};
}

static int64_t floats_of(const struct gradient_blocks *b)
{
    return b->outputs * b->taps * b->inputs * b->size;
}

/* Returns the number of rows of sums over grains that grains_sum_floats() has to add. */
static int64_t rows_of(const struct gradient *g)
{
    return g->group ? g->s.grains / g->group : g->s.grains;
}

/* ---- memory ---- */

/* Offsets of the parts of a thread's workspace. */
struct gradient_memory {
    size_t x, dy, scratch, steps, blocks;
    size_t bytes; /* bytes of all parts */
};

static struct gradient_memory lay_out_memory(const struct gradient *g)
{
    const struct gemm_kernel *product = g->v->product;
    struct panel x, dy;
    lay_out(g, 0, g->tiles.n, g->tiles.rows, &x, &dy);
    const size_t scratch_x = panel_scratch_bytes(&x), scratch_dy = panel_scratch_bytes(&dy);
    const int64_t steps = g->tiles.rows * dy.line_pitch / product->depth * precision_steps(g->v);
    struct arena a = {0};
    struct gradient_memory m = {
        .x = arena_reserve(&a, (size_t)(g->group ? g->group : 1), x.bytes),
        .dy = arena_reserve(&a, g->group ? 0 : dy.bytes, 1),
        .scratch = arena_reserve(&a, scratch_x > scratch_dy ? scratch_x : scratch_dy, 1),
        .steps = arena_reserve(&a, (size_t)steps, sizeof(struct gemm_step)),
        /* One block for each level of the tree over grains. */
        .blocks = arena_reserve(&a, LEVELS * gemm_kernel_block_floats(product), sizeof(float)),
    };
    m.bytes = a.bytes;
    return m;
}

size_t conv_gradient_work_bytes(const struct precision *v, const struct conv_shape *s, int threads)
{
    const struct gradient g = make_gradient(v, s, threads);
    return lay_out_memory(&g).bytes;
}

/* Returns the bytes of the sums. The held part of dy comes after them. */
static size_t sums_bytes(const struct gradient *g)
{
    const struct gradient_blocks all = blocks_of(g, g->s.c);
    return (size_t)count_round_up(rows_of(g) * floats_of(&all) * (int64_t)sizeof(float), 64);
}

size_t conv_gradient_shared_bytes(const struct precision *v, const struct conv_shape *s,
                                  int threads)
{
    const struct gradient g = make_gradient(v, s, threads);
    struct panel x, dy;
    lay_out(&g, 0, g.tiles.n, g.tiles.rows, &x, &dy);
    return sums_bytes(&g) + (g.group ? (size_t)s->grains * dy.bytes : 0);
}

/* ---- panels ---- */

static void fill_x(const struct gradient *g, const struct panel *panel, const struct row_tile *s,
                   int64_t c0, const char *x, unsigned char *to, void *scratch)
{
    const int64_t image = g->s.h * g->s.w * g->s.c;
    panel_fill(panel, x + (size_t)(s->image * image + c0) * precision_map_bytes(g->v), s->images,
               s->row, to, scratch);
}

static void fill_dy(const struct gradient *g, const struct panel *panel, const struct row_tile *s,
                    const char *dy, unsigned char *to, void *scratch)
{
    const int64_t image = g->s.oh * g->s.ow * g->s.o;
    panel_fill(panel, dy + (size_t)(s->image * image) * precision_map_bytes(g->v), s->images,
               s->row, to, scratch);
}

/* Finds the steps through all pixels of a tile of `rows` rows. Returns the number of steps. */
static int64_t find_steps(const struct gradient *g, const struct panel *x, const struct panel *dy,
                          int64_t rows, struct gemm_step *steps)
{
    int64_t n = 0;
    for (int64_t a = 0; a < rows; a++)
        for (int64_t i = 0; i < dy->line_pitch; i += g->v->product->depth) {
            const struct gemm_step at = {(a * dy->line_pitch + i) * (ptrdiff_t)dy->row_bytes,
                                         (a * x->line_step * x->line_pitch + i) *
                                             (ptrdiff_t)x->row_bytes};
            n = precision_add_steps(g->v, steps, n, at, dy->half, x->half);
        }
    return n;
}

/* Computes block number o of rows of dy, in the panel at `from`, times columns of x. */
static void multiply(const struct gradient *g, const struct panel *dy, const unsigned char *from,
                     int64_t o, const unsigned char *x, const struct gemm_step *steps,
                     int64_t n_steps, float *to)
{
    const struct gemm_kernel *product = g->v->product;
    from += (size_t)o * block_of_dy(g, dy);
    if (product->across)
        product->across(from, dy->row_bytes * (product->values == GEMM_BF16 ? 2 : 1), x, steps,
                        n_steps, to);
    else
        product->block(from, dy->plane, x, steps, n_steps, to);
}

/* ---- tasks ---- */

/* Computes the sums over the grains first to first + group - 1, for the input channels from c0
 * on. */
static void held_task(const struct gradient *g, int64_t first, int64_t c0, const void *x,
                      const unsigned char *held, float *sums, const struct gradient_memory *m,
                      unsigned char *memory)
{
    const struct gradient_blocks b = blocks_of(g, window_from(g, c0).c);
    struct gemm_step *steps = (void *)(memory + m->steps);
    float *levels = (void *)(memory + m->blocks);
    struct panel px, py;
    lay_out(g, c0, g->tiles.n, g->tiles.rows, &px, &py);
    const int64_t n_steps = find_steps(g, &px, &py, g->tiles.rows, steps);
    for (int64_t i = 0; i < g->group; i++) {
        const struct row_tile grain = row_tiles_at(&g->tiles, first + i);
        fill_x(g, &px, &grain, c0, x, memory + m->x + (size_t)i * px.bytes, memory + m->scratch);
    }
    held += (size_t)first * py.bytes;
    for (int64_t o = 0; o < b.outputs; o++)
        for (int64_t c = 0; c < b.inputs; c++)
            for (int64_t t = 0; t < b.taps; t++) {
                const unsigned char *from_x =
                    memory + m->x + (size_t)c * px.plane + panel_tap(&px, t / px.nx, t % px.nx);
                float *to = sums + ((c * b.taps + t) * b.outputs + o) * b.size;
                int64_t depth = 0; /* of the tree over grains: level 0 is the result itself */
                for (int64_t i = 0; i < g->group; i++, depth++) {
                    multiply(g, &py, held + (size_t)i * py.bytes, o, from_x + (size_t)i * px.bytes,
                             steps, n_steps, depth ? levels + depth * b.size : to);
                    for (int64_t full = i; full & 1; full >>= 1, depth--)
                        grains_add_floats(depth > 1 ? levels + (depth - 1) * b.size : to,
                                          levels + depth * b.size, b.size);
                }
            }
}

/* Computes the sums over one grain, tile by tile. */
static void tiles_task(const struct gradient *g, int64_t grain, int64_t c0, const void *x,
                       const void *dy, float *sums, const struct gradient_memory *m,
                       unsigned char *memory)
{
    const struct gradient_blocks b = blocks_of(g, window_from(g, c0).c);
    struct gemm_step *steps = (void *)(memory + m->steps);
    float *block = (void *)(memory + m->blocks);
    for (int64_t i = 0; i < g->tiles.per_grain; i++) {
        const struct row_tile s = row_tiles_at(&g->tiles, grain * g->tiles.per_grain + i);
        struct panel px, py;
        lay_out(g, c0, s.images, s.rows, &px, &py);
        fill_x(g, &px, &s, c0, x, memory + m->x, memory + m->scratch);
        fill_dy(g, &py, &s, dy, memory + m->dy, memory + m->scratch);
        const int64_t n_steps = find_steps(g, &px, &py, s.rows, steps);
        float *to = sums;
        for (int64_t c = 0; c < b.inputs; c++)
            for (int64_t t = 0; t < b.taps; t++)
                for (int64_t o = 0; o < b.outputs; o++, to += b.size) {
                    multiply(g, &py, memory + m->dy, o,
                             memory + m->x + (size_t)c * px.plane +
                                 panel_tap(&px, t / px.nx, t % px.nx),
                             steps, n_steps, i ? block : to);
                    if (i)
                        grains_add_floats(to, block, b.size);
                }
    }
}

/* Copies a line of a block for each tap to the kernels of n input channels, and prefetches the next
 * lines. */
static inline __attribute__((always_inline)) void
unpack_line(const float *from, int64_t columns, int64_t tap, int64_t taps, int64_t n, float *to)
{
    for (int64_t t = 0; t < taps; t++, from += tap) {
        for (int64_t j = columns; j < 2 * columns; j += 16)
            __builtin_prefetch(from + j);
        for (int64_t j = 0; j < n; j++)
            to[j * taps + t] = from[j];
    }
}

/* Does the same for the case that the kernel's columns are treated as channels. */
static void unpack_folded(const struct gradient *g, const float *from, int64_t tap, int64_t c0,
                          int64_t n, float *to)
{
    const int64_t c = g->s.c, k = g->s.kernel, rows = conv_rows(&g->s);
    for (int64_t t = 0; t < rows; t++)
        for (int64_t j = 0; j < n; j++)
            to[(c0 + j) % c * rows * k + t * k + (c0 + j) / c] = from[t * tap + j];
}

/* Copies blocks into the layout of the weights. It writes the weights in the order of memory and
 * reads the blocks at scattered addresses, which it can prefetch in time. */
static void unpack(const struct gradient *g, const float *sums, float *grad, int threads)
{
    const struct conv_shape *s = &g->s;
    const int64_t rows = g->v->product->rows, columns = g->v->product->columns;
    const int64_t area = conv_rows(s) * s->kernel, channels = g->folded ? s->kernel * s->c : s->c;
    const struct gradient_blocks b = blocks_of(g, s->c);
    const int64_t tap = b.outputs * b.size;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < s->o; o++) {
        const float *from = sums + o / rows * b.size + o % rows * columns;
        float *to = grad + o * s->c * area;
        for (int64_t c0 = 0; c0 < channels; c0 += columns, from += b.taps * tap) {
            const int64_t n = channels - c0 < columns ? channels - c0 : columns;
            if (g->folded)
                unpack_folded(g, from, tap, c0, n, to);
            else if (area == 9)
                unpack_line(from, columns, tap, 9, n, to + c0 * 9);
            else
                unpack_line(from, columns, tap, area, n, to + c0 * area);
        }
    }
}

void conv_gradient_of_weights(const struct precision *v, const struct conv_shape *s, const void *x,
                              const void *dy, void *shared, float *grad,
                              const struct workspace *work)
{
    const struct gradient gradient = make_gradient(v, s, work->threads), *g = &gradient;
    const struct gradient_blocks all = blocks_of(g, s->c);
    const int64_t rows = rows_of(g), ranges = count_divide_up(s->c, g->range),
                  floats = floats_of(&all);
    float *partials = shared;
    unsigned char *held = (unsigned char *)shared + sums_bytes(g);
    const struct gradient_memory m = lay_out_memory(g);
    assert(m.bytes <= work->bytes);
#pragma omp parallel num_threads(work->threads)
    {
        unsigned char *memory = workspace_of_thread(work);
        v->product->begin();
        if (g->group) {
            struct panel px, py;
            lay_out(g, 0, g->tiles.n, g->tiles.rows, &px, &py);
#pragma omp for schedule(dynamic)
            for (int64_t i = 0; i < s->grains; i++) {
                const struct row_tile grain = row_tiles_at(&g->tiles, i);
                fill_dy(g, &py, &grain, dy, held + (size_t)i * py.bytes, memory + m.scratch);
            }
        }
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < rows * ranges; task++) {
            const int64_t row = task / ranges, c0 = task % ranges * g->range;
            float *sums = partials + row * floats +
                          c0 / v->product->columns * all.taps * all.outputs * all.size;
            if (g->group)
                held_task(g, row * g->group, c0, x, held, sums, &m, memory);
            else
                tiles_task(g, row, c0, x, dy, sums, &m, memory);
        }
        v->product->end();
    }
    grains_sum_floats(partials, rows, floats, work->threads);
    unpack(g, partials, grad, work->threads);
}
