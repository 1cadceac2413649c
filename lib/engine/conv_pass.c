#include "engine/conv_pass.h"

#include <assert.h>
#include <string.h>

#include "base/arena.h"
#include "base/count.h"
#include "engine/conv_store.h"
#include "engine/row_tiles.h"

/* The largest sizes in bytes of a tile's panel, and of the weights that are used in turn with each
 * block of its rows. Both together fit well into the second-level cache. */
enum { TILE_BYTES = 384 << 10, GROUP_BYTES = 96 << 10 };

/* The largest size in bytes of the next rows that are fetched early: a quarter of a first-level
 * cache or less. */
enum { FETCH_BYTES = 8 << 10 };

/* The largest number of rows of A whose products are computed before they are stored. */
enum { STRIP_ROWS = 96 };

/* ---- direct passes, tiles, memory ---- */

/* Returns true if every window is a single pixel and the map has the kernel's type. The map then
 * contains the rows of A as they are, and needs no panel. */
static bool is_direct(const struct conv_pass *p)
{
    const struct panel_window *w = &p->window;
    const struct gemm_kernel *product = p->v->product;
    return w->nx == 1 && w->ny == 1 && w->step == 1 && p->spread == 1 &&
           w->c % product->depth == 0 && p->v->bf16_maps == (product->values == GEMM_BF16);
}

/* Returns the same pass with a grid that is one column of pixels, where each grain is one image. */
static struct conv_pass make_direct(const struct conv_pass *p)
{
    struct conv_pass d = *p;
    d.rows = p->images / p->grains * p->rows * p->columns;
    d.columns = 1;
    d.images = p->grains;
    d.window.h = d.to_h = d.rows;
    d.window.w = d.to_w = 1;
    return d;
}

static size_t tile_bytes(const void *of, int64_t n, int64_t rows)
{
    const struct conv_pass *p = of;
    struct panel panel;
    panel_lay_out(&panel, &p->window, p->v, PANEL_A, rows, p->columns, n);
    return panel.bytes;
}

static struct row_tiles cut(const struct conv_pass *p)
{
    const int64_t unit = is_direct(p) ? p->v->product->rows : 1;
    return row_tiles_cut(p->images, p->grains, p->rows, 1, unit, TILE_BYTES, tile_bytes, p);
}

/* Offsets of the parts of a thread's workspace. */
struct conv_pass_memory {
    size_t panel, scratch, steps, place, strip, tail, sums;
    size_t bytes; /* bytes of all parts */
};

static struct conv_pass_memory lay_out_memory(const struct conv_pass *p)
{
    const struct row_tiles tiles = cut(p);
    const struct gemm_kernel *product = p->v->product;
    const bool direct = is_direct(p);
    struct panel panel;
    panel_lay_out(&panel, &p->window, p->v, PANEL_A, tiles.rows, p->columns, tiles.n);
    const int64_t groups = count_divide_up(panel.channels, product->depth);
    const int64_t steps = p->window.ny * panel.nx * groups * precision_steps(p->v);
    const int64_t run = p->columns * (direct ? tiles.rows : tiles.n);
    const int64_t tail = direct ? product->rows * p->window.c : 0;
    const int64_t strip = product->rows + (direct ? 0 : STRIP_ROWS);
    struct arena a = {0};
    struct conv_pass_memory m = {
        .panel = arena_reserve(&a, direct ? 0 : panel.bytes, 1),
        .scratch = arena_reserve(&a, direct ? 0 : panel_scratch_bytes(&panel), 1),
        .steps = arena_reserve(&a, (size_t)steps, sizeof(struct gemm_step)),
        .place = arena_reserve(&a, (size_t)run, sizeof(int64_t)),
        .strip = arena_reserve(&a, (size_t)(strip * product->columns), sizeof(float)),
        .tail = arena_reserve(&a, (size_t)tail, sizeof(float)),
        .sums =
            arena_reserve(&a, (size_t)(2 * count_round_up(p->o, product->columns)), sizeof(double)),
    };
    m.bytes = a.bytes;
    return m;
}

/* ---- running a pass ---- */

/* The rows of A of a tile: `lines` runs of `run` rows, `line` bytes apart. */
struct conv_pass_rows {
    const char *a;
    size_t pitch, line; /* bytes from a row to the next, from a line to the next */
    int64_t lines, run, n_steps;
};

static struct conv_pass_rows panel_rows(const struct conv_pass *p, const struct row_tile *s,
                                        const void *src, const struct conv_pass_memory *m,
                                        unsigned char *memory)
{
    const struct panel_window *w = &p->window;
    const int64_t depth = p->v->product->depth;
    const size_t step = gemm_kernel_step_bytes(p->v->product);
    struct gemm_step *steps = (void *)(memory + m->steps);
    struct panel panel;
    panel_lay_out(&panel, w, p->v, PANEL_A, s->rows, p->columns, s->images);
    panel_fill(&panel,
               (const char *)src +
                   (size_t)(s->image * w->h * w->w * w->pitch) * precision_map_bytes(p->v),
               s->images, s->row, memory + m->panel, memory + m->scratch);
    struct conv_pass_rows r = {.a = (const char *)memory + m->panel,
                               .pitch = panel.row_bytes,
                               .line =
                                   (size_t)(panel.line_step * panel.line_pitch) * panel.row_bytes,
                               .lines = s->rows,
                               .run = p->columns * panel.n};
    size_t b = 0;
    for (int64_t ty = 0; ty < w->ny; ty++)
        for (int64_t tx = 0; tx < panel.nx; tx++)
            for (int64_t g = 0; g < count_divide_up(panel.channels, depth); g++) {
                const struct gemm_step at = {panel_tap(&panel, ty, tx) + g * (ptrdiff_t)panel.plane,
                                             (ptrdiff_t)b};
                r.n_steps = precision_add_steps(p->v, steps, r.n_steps, at, panel.half, step);
                b += step * (size_t)precision_halves(p->v);
            }
    return r;
}

static struct conv_pass_rows direct_rows(const struct conv_pass *p, const struct row_tile *s,
                                         const void *src, const struct conv_pass_memory *m,
                                         unsigned char *memory)
{
    const int64_t c = p->window.c, depth = p->v->product->depth;
    const size_t row = (size_t)p->window.pitch * precision_map_bytes(p->v);
    struct gemm_step *steps = (void *)(memory + m->steps);
    struct conv_pass_rows r = {.a = (const char *)src + (size_t)(s->image * p->rows + s->row) * row,
                               .pitch = row,
                               .lines = 1,
                               .run = s->rows};
    for (int64_t g = 0; g < c / depth; g++)
        steps[r.n_steps++] =
            (struct gemm_step){g * 64, g * (ptrdiff_t)gemm_kernel_step_bytes(p->v->product)};
    return r;
}

/* Finds the offsets of the outputs of a line, with n images side by side, in values from the first
 * output. */
static void find_places(const struct conv_pass *p, int64_t n, int64_t run, int64_t *place)
{
    for (int64_t i = 0; i < run; i++) {
        const int64_t column = i / n * p->spread + p->x;
        place[i] = (i % n * p->to_h * p->to_w + column) * p->o;
    }
}

/* Prefetches `bytes` bytes, to write them if `write` is 1. */
static inline __attribute__((always_inline)) void fetch(const char *from, size_t bytes, int write)
{
    for (size_t i = 0; i < bytes; i += GEMM_KERNEL_BYTES)
        if (write)
            __builtin_prefetch(from + i, 1);
        else
            __builtin_prefetch(from + i, 0);
}

/* Returns the number of lines whose rows are multiplied together. Where windows are single pixels,
 * a panel's lines follow each other, so a block may have rows of several lines. That leaves fewer
 * blocks with unused rows. */
static int64_t lines_together(const struct conv_pass_rows *r, int64_t block)
{
    int64_t best = 1;
    if (r->line != (size_t)r->run * r->pitch)
        return 1;
    for (int64_t n = 2; n <= r->lines && n * r->run <= STRIP_ROWS; n++)
        if (count_divide_up(n * r->run, block) * best < count_divide_up(best * r->run, block) * n)
            best = n;
    return best;
}

/* Multiplies all rows of `lines` lines by the packed weights of a block of columns, and then stores
 * the products, and adds their sums, line by line. a is the first line's first row and `to` its
 * output; to_line is the values from a line of outputs to the next. */
static void multiply_lines(const struct conv_pass *p, const struct conv_pass_rows *rows,
                           int64_t lines, const char *a, const char *weights,
                           const struct gemm_step *steps, float *strip, int64_t outputs,
                           const int64_t *place, int64_t to_line, bool add, char *to, double *sums)
{
    const struct gemm_kernel *product = p->v->product;
    const size_t value = precision_map_bytes(p->v), line = (size_t)to_line * value;
    for (int64_t l = 0; l < lines; l++)
        for (int64_t r = 0; r < rows->run; r++)
            fetch(to + (size_t)l * line + (size_t)place[r] * value,
                  (size_t)product->columns * value, 1);
    for (int64_t r = 0; r < lines * rows->run; r += product->rows)
        product->block(a + (size_t)r * rows->pitch, rows->pitch, weights, steps, rows->n_steps,
                       strip + r * product->columns);
    for (int64_t l = 0; l < lines; l++, strip += rows->run * product->columns, to += line)
        for (int64_t r = 0; r < rows->run; r += product->rows)
            conv_store(p->v, strip + r * product->columns, count_min(product->rows, rows->run - r),
                       outputs, place + r, add, to, sums);
}

/* Computes the column blocks first to last - 1 of a tile. Each strip of rows is multiplied by
 * several column blocks in turn, as many as leave room for the panel in the cache, so that a row of
 * the map is written in one go. A strip is a block of rows or some whole lines. */
static void run_tile(const struct conv_pass *p, const struct row_tile *s, bool direct,
                     const void *src, const char *packed, int64_t first, int64_t last, bool add,
                     void *dst, double *sums, const struct conv_pass_memory *m,
                     unsigned char *memory)
{
    const struct gemm_kernel *product = p->v->product;
    const struct gemm_step *steps = (void *)(memory + m->steps);
    float *strip = (void *)(memory + m->strip);
    int64_t *place = (void *)(memory + m->place);
    const struct conv_pass_rows rows =
        direct ? direct_rows(p, s, src, m, memory) : panel_rows(p, s, src, m, memory);
    find_places(p, s->images, rows.run, place);
    const size_t value = precision_map_bytes(p->v);
    const size_t weights = gemm_kernel_step_bytes(product) *
                           (size_t)(rows.n_steps / precision_steps(p->v)) *
                           (size_t)precision_halves(p->v);
    const int64_t to_line = p->spread * p->to_w * p->o;
    char *to = (char *)dst +
               (size_t)((s->image * p->to_h + s->row * p->spread + p->y) * p->to_w * p->o) * value;
    const int64_t columns = product->columns, group = GROUP_BYTES / (int64_t)weights + 1;
    const int64_t together = lines_together(&rows, product->rows);
    double *part = (void *)(memory + m->sums); /* (2, columns) for each block of columns */
    memset(part, 0, (size_t)(2 * columns * (last - first)) * sizeof *part);
    for (int64_t from = first; from < last; from += group) {
        const int64_t until = from + group < last ? from + group : last;
        /* While it multiplies some rows, a direct pass fetches the next ones, a part for each block
         * of columns: they are in no panel, so they can come from memory. */
        const size_t ahead = (size_t)product->rows * rows.pitch,
                     each = ahead / (size_t)(until - from);
        for (int64_t line = 0; together > 1 && line < rows.lines; line += together)
            for (int64_t b = from; b < until; b++)
                multiply_lines(p, &rows, count_min(together, rows.lines - line),
                               rows.a + (size_t)line * rows.line, packed + (size_t)b * weights,
                               steps, strip, count_min(columns, p->o - b * columns), place, to_line,
                               add, to + (size_t)(line * to_line + b * columns) * value,
                               sums ? part + 2 * columns * (b - first) : NULL);
        for (int64_t line = 0; together == 1 && line < rows.lines; line++)
            for (int64_t i = 0; i < rows.run; i += product->rows) {
                const int64_t left = rows.run - i, n = left < product->rows ? left : product->rows;
                const char *a = rows.a + (size_t)line * rows.line + (size_t)i * rows.pitch;
                if (direct && left < product->rows) /* the map may end here */
                    a = memcpy(memory + m->tail, a, (size_t)left * rows.pitch);
                for (int64_t b = from; b < until; b++) {
                    const int64_t o = b * columns, outputs = count_min(columns, p->o - o);
                    const char *packed_b = packed + (size_t)b * weights;
                    char *here = to + (size_t)(line * to_line + o) * value;
                    double *part_b = sums ? part + 2 * columns * (b - first) : NULL;
                    for (int64_t r = 0; r < n; r++)
                        fetch(here + (size_t)place[i + r] * value, (size_t)columns * value, 1);
                    if (direct && ahead <= FETCH_BYTES)
                        fetch(rows.a + (size_t)i * rows.pitch + ahead + each * (size_t)(b - from),
                              each, 0);
                    product->block(a, rows.pitch, packed_b, steps, rows.n_steps, strip);
                    conv_store(p->v, strip, n, outputs, place + i, add, here, part_b);
                }
            }
    }
    for (int64_t b = first; sums && b < last; b++, part += 2 * columns) {
        const int64_t o = b * columns;
        const size_t bytes = (size_t)(p->o - o < columns ? p->o - o : columns) * sizeof *sums;
        memcpy(sums + o, part, bytes);
        memcpy(sums + p->o + o, part + columns, bytes);
    }
}

void conv_pass_run(const struct conv_pass *whole, const void *src, const void *packed, void *dst,
                   bool add, double *sums, const struct workspace *work)
{
    const struct gemm_kernel *product = whole->v->product;
    const bool direct = is_direct(whole);
    const struct conv_pass pass = direct ? make_direct(whole) : *whole, *p = &pass;
    const struct row_tiles tiles = cut(p);
    const struct conv_pass_memory m = lay_out_memory(p);
    assert(m.bytes <= work->bytes);
    /* If there are few tiles, threads divide the columns of each tile between them. */
    const int64_t blocks = count_divide_up(p->o, product->columns);
    int64_t shares = count_divide_up(2 * work->threads, tiles.count);
    shares = shares < blocks ? shares : blocks;
#pragma omp parallel num_threads(work->threads)
    {
        product->begin();
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < tiles.count * shares; task++) {
            const int64_t i = task / shares, share = task % shares;
            const struct row_tile s = row_tiles_at(&tiles, i);
            run_tile(p, &s, direct, src, packed, blocks * share / shares,
                     blocks * (share + 1) / shares, add, dst, sums ? sums + i * 2 * p->o : NULL, &m,
                     workspace_of_thread(work));
        }
        product->end();
    }
}

/* ---- the forward pass ---- */

struct conv_pass conv_pass_forward(const struct precision *v, const struct conv_shape *s)
{
    return (struct conv_pass){.v = v,
                              .window = {.h = s->h,
                                         .w = s->w,
                                         .c = s->c,
                                         .pitch = s->c,
                                         .step = s->stride,
                                         .y0 = -conv_row_padding(s),
                                         .x0 = -s->padding,
                                         .ny = conv_rows(s),
                                         .nx = s->kernel},
                              .images = s->images,
                              .grains = s->grains,
                              .rows = s->oh,
                              .columns = s->ow,
                              .o = s->o,
                              .to_h = s->oh,
                              .to_w = s->ow,
                              .spread = 1};
}

/* ---- the backward pass for the input ---- */

/* With stride s the pixels of the input are written in s x s phases: those at rows py, py+s, ...
 * and columns px, px+s, .... A kernel row ky contributes to such a row only if ky = (py + padding)
 * mod s, and then from output row a + (py + padding - ky) / s to the a-th of these rows. With ky
 * descending, these output rows are neighbours, which makes them a window on dy. The same is true
 * of columns. */
struct conv_axis {
    int64_t kernel, stride, padding;
};

static struct conv_axis along_y(const struct conv_shape *s)
{
    return (struct conv_axis){conv_rows(s), s->stride, conv_row_padding(s)};
}

static struct conv_axis along_x(const struct conv_shape *s)
{
    return (struct conv_axis){s->kernel, s->stride, s->padding};
}

static int64_t taps(struct conv_axis s, int64_t phase)
{
    const int64_t first = (phase + s.padding) % s.stride;
    return first < s.kernel ? (s.kernel - 1 - first) / s.stride + 1 : 0;
}

static int64_t tap_position(struct conv_axis s, int64_t phase, int64_t t)
{
    const int64_t first = (phase + s.padding) % s.stride;
    return first + (taps(s, phase) - 1 - t) * s.stride;
}

static int64_t tap_offset(struct conv_axis s, int64_t phase)
{
    return taps(s, phase) ? (phase + s.padding - tap_position(s, phase, 0)) / s.stride : 0;
}

int64_t conv_pass_tap_row(const struct conv_shape *s, int64_t phase, int64_t t)
{
    return tap_position(along_y(s), phase, t);
}

int64_t conv_pass_tap_column(const struct conv_shape *s, int64_t phase, int64_t t)
{
    return tap_position(along_x(s), phase, t);
}

static int64_t phase_length(int64_t length, int64_t stride, int64_t phase)
{
    return phase < length ? (length - 1 - phase) / stride + 1 : 0;
}

struct conv_pass conv_pass_backward(const struct precision *v, const struct conv_shape *s,
                                    int64_t py, int64_t px)
{
    return (struct conv_pass){.v = v,
                              .window = {.h = s->oh,
                                         .w = s->ow,
                                         .c = s->o,
                                         .pitch = s->o,
                                         .step = 1,
                                         .y0 = tap_offset(along_y(s), py),
                                         .x0 = tap_offset(along_x(s), px),
                                         .ny = taps(along_y(s), py),
                                         .nx = taps(along_x(s), px)},
                              .images = s->images,
                              .grains = s->grains,
                              .rows = phase_length(s->h, s->stride, py),
                              .columns = phase_length(s->w, s->stride, px),
                              .o = s->c,
                              .to_h = s->h,
                              .to_w = s->w,
                              .spread = s->stride,
                              .y = py,
                              .x = px};
}

void conv_pass_clear(const struct conv_pass *p, void *dst, int threads)
{
    const size_t bytes = (size_t)p->o * precision_map_bytes(p->v);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < p->images * p->rows; i++) {
        const int64_t line = i / p->rows * p->to_h + i % p->rows * p->spread + p->y;
        char *to = (char *)dst + (size_t)(line * p->to_w + p->x) * bytes;
        for (int64_t b = 0; b < p->columns; b++)
            memset(to + (size_t)(b * p->spread) * bytes, 0, bytes);
    }
}

int64_t conv_pass_sum_rows(const struct conv_pass *p)
{
    const struct conv_pass direct = make_direct(p);
    return cut(is_direct(p) ? &direct : p).count;
}

size_t conv_pass_work_bytes(const struct conv_pass *p)
{
    const struct conv_pass direct = make_direct(p);
    return lay_out_memory(is_direct(p) ? &direct : p).bytes;
}
