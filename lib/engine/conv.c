#include "engine/conv.h"

#include <assert.h>
#include <string.h>

#include "base/half.h"
#include "base/multiversion.h"
#include "engine/conv_gradient.h"
#include "engine/grains.h"
#include "engine/row_tiles.h"
#include "engine/transpose.h"
#include "engine/winograd.h"

/* Bytes of a strip's panel, and of the weights that take turns with each of its rows: together well
 * within the second-level cache. */
enum { STRIP_BYTES = 384 << 10, GROUP_BYTES = 96 << 10 };

/* The largest kernel's width; the values of a step, over all products; tiles of a grain. */
enum { KERNEL = 11, STEP = 32 * 32, FEW_TILES = 32 };

/* ---- Winograd's way ----
 * for convolutions 3x3 that are large enough to gain by it. A quarter of the products, of floats,
 * takes half the time of products of bf16 pairs, but not of a matrix unit's. */

static struct winograd_shape winograd_shape(const struct precision *v, const struct conv_shape *s)
{
    return (struct winograd_shape){s->images, s->h, s->w, s->c, s->o, s->grains, v->bf16_maps};
}

static struct winograd_shape winograd_transposed(const struct precision *v,
                                                 const struct conv_shape *s)
{
    return (struct winograd_shape){s->images, s->h, s->w, s->o, s->c, s->grains, v->bf16_maps};
}

/* The product of floats that computes this convolution Winograd's way; NULL: sums over taps are
 * faster, or floats would be more exact than asked for. */
static const struct gemm_kernel *winograd_product(const struct precision *v,
                                                  const struct conv_shape *s)
{
    const struct winograd_shape w = winograd_shape(v, s);
    if (v->product->matrix_unit || v->split || s->row || s->kernel != 3 || s->stride != 1 ||
        s->padding != 1 || !winograd_pays(&w))
        return NULL;
    return v->product->values == GEMM_FLOAT ? v->product : gemm_kernel_choose(GEMM_FLOAT);
}

/* The same for the gradient of weights. Its products sum over a grain's tiles: with few of them,
 * adding up the 36 positions takes longer than products of bf16 pairs save. */
static const struct gemm_kernel *winograd_gradient_product(const struct precision *v,
                                                           const struct conv_shape *s)
{
    const struct winograd_shape w = winograd_shape(v, s);
    if (v->product->values == GEMM_BF16 && winograd_tiles(&w) / s->grains < FEW_TILES)
        return NULL;
    return winograd_product(v, s);
}

/* ---- a pass: a map times packed weights ---- */

/* The forward pass, or a phase of the backward one. Output (b, a) of the rows x columns grid goes
 * to pixel (b * spread + x, a * spread + y) of a to_h x to_w map of `o` channels. */
struct pass {
    const struct precision *v;
    struct window window;
    int64_t images, grains, rows, columns, o;
    int64_t to_h, to_w, spread, y, x;
};

/* Where every window is a single pixel and values are the product's own, its rows of A lie in the
 * map as they are. Its grid is one column of pixels, a grain being one image. */
static bool is_direct(const struct pass *p)
{
    const struct window *w = &p->window;
    const struct gemm_kernel *product = p->v->product;
    return w->nx == 1 && w->ny == 1 && w->step == 1 && p->spread == 1 &&
           w->c % product->depth == 0 && p->v->bf16_maps == (product->values == GEMM_BF16);
}

static struct pass make_direct(const struct pass *p)
{
    struct pass d = *p;
    d.rows = p->images / p->grains * p->rows * p->columns;
    d.columns = 1;
    d.images = p->grains;
    d.window.h = d.to_h = d.rows;
    d.window.w = d.to_w = 1;
    return d;
}

static size_t pass_strip_bytes(const void *of, int64_t n, int64_t rows)
{
    const struct pass *p = of;
    struct panel panel;
    panel_lay_out(&panel, &p->window, p->v, PANEL_A, rows, p->columns, n);
    return panel.bytes;
}

static struct row_tiles cut_pass(const struct pass *p)
{
    const int64_t unit = is_direct(p) ? p->v->product->rows : 1;
    return row_tiles_cut(p->images, p->grains, p->rows, 1, unit, STRIP_BYTES, pass_strip_bytes, p);
}

/* Where things lie in a thread's workspace. */
struct pass_memory {
    size_t panel, scratch, steps, place, block, tail, sums;
};

static struct pass_memory pass_memory(const struct pass *p, size_t *bytes)
{
    const struct row_tiles strips = cut_pass(p);
    const struct gemm_kernel *product = p->v->product;
    const bool direct = is_direct(p);
    struct panel panel;
    panel_lay_out(&panel, &p->window, p->v, PANEL_A, strips.rows, p->columns, strips.n);
    const int64_t groups = count_divide_up(panel.channels, product->depth);
    const int64_t steps = p->window.ny * panel.nx * groups * step_parts(p->v);
    const int64_t run = p->columns * (direct ? strips.rows : strips.n);
    struct pass_memory m;
    size_t at = 0;
    m.panel = carve(&at, direct ? 0 : panel.bytes);
    m.scratch = carve(&at, direct ? 0 : panel_scratch_bytes(&panel));
    m.steps = carve(&at, (size_t)steps * sizeof(struct gemm_step));
    m.place = carve(&at, (size_t)run * sizeof(int64_t));
    m.block = carve(&at, (size_t)(product->rows * product->columns) * sizeof(float));
    m.tail = carve(&at, direct ? (size_t)(product->rows * p->window.c) * sizeof(float) : 0);
    m.sums = carve(&at, (size_t)(2 * count_round_up(p->o, product->columns)) * sizeof(double));
    *bytes = at;
    return m;
}

/* ---- blocks into maps ---- */

typedef float float8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float float16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t bits16 __attribute__((vector_size(64)));
typedef uint16_t bf16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef double double8 __attribute__((vector_size(64), aligned(8), may_alias));

/* Adds each column's sums of values and squares, (2, columns), in doubles: a variance as the
 * difference of two sums keeps float's digits while the mean is below some thousand deviations. */
MULTIVERSION static void add_sums(const float *c, int64_t rows, int64_t columns, double *sums)
{
    for (int64_t j = 0; j < columns; j += 8) {
        double8 *sum = (double8 *)(sums + j), *square = (double8 *)(sums + columns + j);
        double8 s = *sum, q = *square;
        for (int64_t r = 0; r < rows; r++) {
            const double8 x =
                __builtin_convertvector(*(const float8 *)(c + r * columns + j), double8);
            s += x;
            q += x * x;
        }
        *sum = s;
        *square = q;
    }
}

/* Row r of c, n of its values, goes to y + place[r]. */
MULTIVERSION static void store_floats(const float *restrict c, int64_t rows, int64_t columns,
                                      int64_t n, const int64_t *place, bool add, float *restrict y)
{
    for (int64_t r = 0; r < rows; r++, c += columns) {
        float *to = y + place[r];
        if (add)
            for (int64_t j = 0; j < n; j++)
                to[j] += c[j];
        else
            for (int64_t j = 0; j < n; j++)
                to[j] = c[j];
    }
}

/* The same for maps of bf16; with sums also what add_sums does, in floats within the block: values
 * of few digits need no more. */
typedef void store_bf16(const float *c, int64_t rows, int64_t columns, int64_t n,
                        const int64_t *place, bool add, uint16_t *y, double *sums);

MULTIVERSION static void store_bf16_portable(const float *c, int64_t rows, int64_t columns,
                                             int64_t n, const int64_t *place, bool add, uint16_t *y,
                                             double *sums)
{
    for (int64_t j = 0; j < columns; j += 16) {
        const int64_t lanes = n - j < 16 ? n - j : 16;
        float16 sum = {0}, square = {0};
        for (int64_t r = 0; r < rows; r++) {
            const float16 x = *(const float16 *)(c + r * columns + j);
            uint16_t *to = y + place[r] + j;
            sum += x;
            square += x * x;
            if (lanes == 16 && !add) { /* bf16_narrow() */
                const bits16 bits = (bits16)x, rounded = bits + 0x7fff + (bits >> 16 & 1);
                const bits16 nan = (bits16)(x != x);
                *(bf16x16 *)to = __builtin_convertvector(
                    ((rounded & ~nan) | ((bits | 0x400000) & nan)) >> 16, bf16x16);
                continue;
            }
            for (int64_t i = 0; i < lanes; i++)
                to[i] = bf16_narrow(x[i] + (add ? bf16_widen(to[i]) : 0));
        }
        for (int64_t i = 0; sums && i < 16; i++) {
            sums[j + i] += (double)sum[i];
            sums[columns + j + i] += (double)square[i];
        }
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

static inline __attribute__((always_inline, target("avx512f,avx512dq"))) void
add_doubles(double *to, __m512 x)
{
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    _mm512_storeu_pd(to, _mm512_add_pd(_mm512_loadu_pd(to), low));
    _mm512_storeu_pd(to + 8, _mm512_add_pd(_mm512_loadu_pd(to + 8), high));
}

/* 32 columns at a time: one instruction rounds them. Denormals become zeros. */
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))) static void
store_bf16_avx512(const float *c, int64_t rows, int64_t columns, int64_t n, const int64_t *place,
                  bool add, uint16_t *y, double *sums)
{
    for (int64_t j = 0; j < columns; j += 32) {
        const __mmask32 lanes = n - j >= 32 ? ~0U : n > j ? (1U << (n - j)) - 1 : 0;
        __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0, square0 = sum0, square1 = sum0;
        for (int64_t r = 0; r < rows; r++) {
            __m512 x0 = _mm512_load_ps(c + r * columns + j);
            __m512 x1 = _mm512_load_ps(c + r * columns + j + 16);
            uint16_t *to = y + place[r] + j;
            sum0 = _mm512_add_ps(sum0, x0);
            sum1 = _mm512_add_ps(sum1, x1);
            square0 = _mm512_fmadd_ps(x0, x0, square0);
            square1 = _mm512_fmadd_ps(x1, x1, square1);
            if (add) {
                const __m512i old = _mm512_maskz_loadu_epi16(lanes, to);
                const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(old));
                const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(old, 1));
                x0 = _mm512_add_ps(x0, _mm512_castsi512_ps(_mm512_slli_epi32(low, 16)));
                x1 = _mm512_add_ps(x1, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
            }
            const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(x1, x0);
            if (lanes == ~0U) /* a store with a mask is slow, even with a full one */
                _mm512_storeu_si512(to, rounded);
            else
                _mm512_mask_storeu_epi16(to, lanes, rounded);
        }
        if (!sums)
            continue;
        add_doubles(sums + j, sum0);
        add_doubles(sums + j + 16, sum1);
        add_doubles(sums + columns + j, square0);
        add_doubles(sums + columns + j + 16, square1);
    }
}
#endif

/* The matrix units' companion: with them, and only then, there is an instruction that rounds. */
static store_bf16 *choose_store_bf16(const struct gemm_kernel *product)
{
#if defined(__x86_64__)
    if (product->values == GEMM_BF16 && product->columns % 32 == 0)
        return store_bf16_avx512;
#endif
    (void)product;
    return store_bf16_portable;
}

static void store_block(const struct precision *v, const float *c, int64_t rows, int64_t n,
                        const int64_t *place, bool add, void *y, double *sums)
{
    const int64_t columns = v->product->columns;
    if (v->bf16_maps) {
        choose_store_bf16(v->product)(c, rows, columns, n, place, add, y, sums);
        return;
    }
    store_floats(c, rows, columns, n, place, add, y);
    if (sums)
        add_sums(c, rows, columns, sums);
}

/* ---- running a pass ---- */

/* A strip's rows of A: `lines` runs of `run` rows, `line` bytes apart. */
struct batch_reader {
    const char *a;
    size_t pitch, line; /* bytes from a row to the next, from a line to the next */
    int64_t lines, run, n_steps;
};

static struct batch_reader panel_rows(const struct pass *p, const struct row_tile *s,
                                      const void *src, const struct pass_memory *m,
                                      unsigned char *memory)
{
    const struct window *w = &p->window;
    const int64_t depth = p->v->product->depth;
    const size_t step = gemm_kernel_step_bytes(p->v->product);
    struct gemm_step *steps = (void *)(memory + m->steps);
    struct panel panel;
    panel_lay_out(&panel, w, p->v, PANEL_A, s->rows, p->columns, s->images);
    panel_fill(&panel,
               (const char *)src + (size_t)(s->image * w->h * w->w * w->pitch) * map_value(p->v),
               s->images, s->row, memory + m->panel, memory + m->scratch);
    struct batch_reader r = {.a = (const char *)memory + m->panel,
                             .pitch = panel.row_bytes,
                             .line = (size_t)(panel.line_step * panel.line_pitch) * panel.row_bytes,
                             .lines = s->rows,
                             .run = p->columns * panel.n};
    size_t b = 0;
    for (int64_t ty = 0; ty < w->ny; ty++)
        for (int64_t tx = 0; tx < panel.nx; tx++)
            for (int64_t g = 0; g < count_divide_up(panel.channels, depth); g++) {
                const struct gemm_step at = {panel_tap(&panel, ty, tx) + g * (ptrdiff_t)panel.plane,
                                             (ptrdiff_t)b};
                r.n_steps = add_steps(p->v, steps, r.n_steps, at, panel.half, step);
                b += step * (p->v->split ? 2 : 1);
            }
    return r;
}

static struct batch_reader direct_rows(const struct pass *p, const struct row_tile *s,
                                       const void *src, const struct pass_memory *m,
                                       unsigned char *memory)
{
    const int64_t c = p->window.c, depth = p->v->product->depth;
    const size_t row = (size_t)p->window.pitch * map_value(p->v);
    struct gemm_step *steps = (void *)(memory + m->steps);
    struct batch_reader r = {.a = (const char *)src + (size_t)(s->image * p->rows + s->row) * row,
                             .pitch = row,
                             .lines = 1,
                             .run = s->rows};
    for (int64_t g = 0; g < c / depth; g++)
        steps[r.n_steps++] =
            (struct gemm_step){g * 64, g * (ptrdiff_t)gemm_kernel_step_bytes(p->v->product)};
    return r;
}

/* Offsets of the outputs of a line, n images side by side, in values from the first one. */
static void find_places(const struct pass *p, int64_t n, int64_t run, int64_t *place)
{
    for (int64_t i = 0; i < run; i++) {
        const int64_t column = i / n * p->spread + p->x;
        place[i] = (i % n * p->to_h * p->to_w + column) * p->o;
    }
}

/* Column blocks first..last-1 of a strip. As many of them as leave the cache to the panel take
 * turns with each block of rows, so that a row of the map is written in one go. */
static void run_strip(const struct pass *p, const struct row_tile *s, bool direct, const void *src,
                      const char *packed, int64_t first, int64_t last, bool add, void *dst,
                      double *sums, const struct pass_memory *m, unsigned char *memory)
{
    const struct gemm_kernel *product = p->v->product;
    const struct gemm_step *steps = (void *)(memory + m->steps);
    float *block = (void *)(memory + m->block);
    int64_t *place = (void *)(memory + m->place);
    const struct batch_reader rows =
        direct ? direct_rows(p, s, src, m, memory) : panel_rows(p, s, src, m, memory);
    find_places(p, s->images, rows.run, place);
    const size_t value = map_value(p->v);
    const size_t weights = gemm_kernel_step_bytes(product) *
                           (size_t)(rows.n_steps / step_parts(p->v)) * (p->v->split ? 2 : 1);
    const int64_t to_line = p->spread * p->to_w * p->o;
    char *to = (char *)dst +
               (size_t)((s->image * p->to_h + s->row * p->spread + p->y) * p->to_w * p->o) * value;
    const int64_t columns = product->columns, group = GROUP_BYTES / (int64_t)weights + 1;
    double *part = (void *)(memory + m->sums); /* (2, columns) for each block of columns */
    memset(part, 0, (size_t)(2 * columns * (last - first)) * sizeof *part);
    for (int64_t from = first; from < last; from += group) {
        const int64_t until = from + group < last ? from + group : last;
        for (int64_t line = 0; line < rows.lines; line++)
            for (int64_t i = 0; i < rows.run; i += product->rows) {
                const int64_t left = rows.run - i, n = left < product->rows ? left : product->rows;
                const char *a = rows.a + (size_t)line * rows.line + (size_t)i * rows.pitch;
                if (direct && left < product->rows) /* the map may end here */
                    a = memcpy(memory + m->tail, a, (size_t)left * rows.pitch);
                for (int64_t b = from; b < until; b++) {
                    const int64_t o = b * columns,
                                  outputs = p->o - o < columns ? p->o - o : columns;
                    product->block(a, rows.pitch, packed + (size_t)b * weights, steps, rows.n_steps,
                                   block);
                    store_block(p->v, block, n, outputs, place + i, add,
                                to + (size_t)(line * to_line + o) * value,
                                sums ? part + 2 * columns * (b - first) : NULL);
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

static void run_pass(const struct pass *whole, const void *src, const void *packed, void *dst,
                     bool add, double *sums, const struct workspace *work)
{
    const struct gemm_kernel *product = whole->v->product;
    const bool direct = is_direct(whole);
    const struct pass pass = direct ? make_direct(whole) : *whole, *p = &pass;
    const struct row_tiles strips = cut_pass(p);
    size_t bytes;
    const struct pass_memory m = pass_memory(p, &bytes);
    assert(bytes <= work->bytes);
    /* With few strips, threads share their columns out. */
    const int64_t blocks = count_divide_up(p->o, product->columns);
    int64_t shares = count_divide_up(2 * work->threads, strips.count);
    shares = shares < blocks ? shares : blocks;
#pragma omp parallel num_threads(work->threads)
    {
        product->begin();
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < strips.count * shares; task++) {
            const int64_t i = task / shares, share = task % shares;
            const struct row_tile s = row_tile_at(&strips, i);
            run_strip(p, &s, direct, src, packed, blocks * share / shares,
                      blocks * (share + 1) / shares, add, dst, sums ? sums + i * 2 * p->o : NULL,
                      &m, workspace_of_thread(work));
        }
        product->end();
    }
}

/* ---- the forward pass ---- */

static struct pass forward_pass(const struct precision *v, const struct conv_shape *s)
{
    return (struct pass){.v = v,
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

int64_t conv_sum_rows(const struct precision *v, const struct conv_shape *s)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        return winograd_sum_rows(&w);
    }
    const struct pass p = forward_pass(v, s);
    const struct pass d = is_direct(&p) ? make_direct(&p) : p;
    return cut_pass(&d).count;
}

void conv_forward(const struct precision *v, const struct conv_shape *s, const void *x,
                  const void *packed, void *y, double *sums, const struct workspace *work)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        winograd_forward(winograd, &w, x, packed, y, sums, false, work);
        return;
    }
    const struct pass p = forward_pass(v, s);
    run_pass(&p, x, packed, y, false, sums, work);
}

/* ---- the backward pass for the input ---- */

/* With stride s the input's pixels are written in s x s phases: those at rows py, py+s, ... and
 * columns px, px+s, ... A kernel row ky reaches such a row only if ky = (py + padding) mod s, from
 * output row a + (py + padding - ky) / s for the a-th of them. With ky descending, these are
 * neighbouring rows: a window on dy. */
struct axis {
    int64_t kernel, stride, padding;
};

static struct axis along_y(const struct conv_shape *s)
{
    return (struct axis){conv_rows(s), s->stride, conv_row_padding(s)};
}

static struct axis along_x(const struct conv_shape *s)
{
    return (struct axis){s->kernel, s->stride, s->padding};
}

static int64_t taps(struct axis s, int64_t phase)
{
    const int64_t first = (phase + s.padding) % s.stride;
    return first < s.kernel ? (s.kernel - 1 - first) / s.stride + 1 : 0;
}

/* The kernel row of tap t of a phase; t = 0 is the one that looks furthest up. */
static int64_t tap_row(struct axis s, int64_t phase, int64_t t)
{
    const int64_t first = (phase + s.padding) % s.stride;
    return first + (taps(s, phase) - 1 - t) * s.stride;
}

static int64_t tap_offset(struct axis s, int64_t phase)
{
    return taps(s, phase) ? (phase + s.padding - tap_row(s, phase, 0)) / s.stride : 0;
}

static int64_t phase_length(int64_t length, int64_t stride, int64_t phase)
{
    return phase < length ? (length - 1 - phase) / stride + 1 : 0;
}

static struct pass backward_pass(const struct precision *v, const struct conv_shape *s, int64_t py,
                                 int64_t px)
{
    return (struct pass){.v = v,
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

/* Pixels that no output looks at have no gradient. */
static void clear_phase(const struct pass *p, void *dx, int threads)
{
    const size_t bytes = (size_t)p->o * map_value(p->v);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < p->images * p->rows; i++) {
        const int64_t line = i / p->rows * p->to_h + i % p->rows * p->spread + p->y;
        char *to = (char *)dx + (size_t)(line * p->to_w + p->x) * bytes;
        for (int64_t b = 0; b < p->columns; b++)
            memset(to + (size_t)(b * p->spread) * bytes, 0, bytes);
    }
}

/* Bytes of the packed weights of a pass. */
static size_t pass_packed_bytes(const struct pass *p)
{
    const struct gemm_kernel *product = p->v->product;
    struct panel panel;
    panel_lay_out(&panel, &p->window, p->v, PANEL_A, 1, 1, 1);
    return (size_t)(count_divide_up(p->o, product->columns) * p->window.ny * panel.nx *
                    count_divide_up(panel.channels, product->depth)) *
           gemm_kernel_step_bytes(product) * (p->v->split ? 2 : 1);
}

void conv_backward_data(const struct precision *v, const struct conv_shape *s, const void *dy,
                        const void *packed, void *dx, bool add, const struct workspace *work)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_transposed(v, s);
        winograd_forward(winograd, &w, dy, packed, dx, NULL, add, work);
        return;
    }
    const char *weights = packed;
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const struct pass p = backward_pass(v, s, py, px);
            if (!p.window.ny || !p.window.nx) {
                if (!add)
                    clear_phase(&p, dx, work->threads);
                continue;
            }
            if (p.rows && p.columns)
                run_pass(&p, dy, weights, dx, add, NULL, work);
            weights += pass_packed_bytes(&p);
        }
}

/* ---- packing weights ---- */

/* Weight (out, in, k) lies at out * out_step + in * in_step + k. Tap (ty, tx) of a pass is kernel
 * position rows[ty] * kernel + columns[tx]. */
struct weights {
    const float *values;
    int64_t out_step, in_step;
    int64_t kernel;
    bool backward;
    const struct conv_shape *s;
    int64_t py, px;
};

static int64_t kernel_position(const struct weights *w, int64_t ty, int64_t tx)
{
    if (w->backward)
        return tap_row(along_y(w->s), w->py, ty) * w->kernel + tap_row(along_x(w->s), w->px, tx);
    return ty * w->kernel + tx;
}

/* n_outer x n_inner weights of nx taps each, from and to positions with these distances. */
struct walk {
    int64_t n_outer, n_inner, from_outer, from_inner, to_outer, to_inner, to_tap;
};

static inline __attribute__((always_inline)) void
gather_taps(const float *from, const struct walk *w, const int64_t *position, int64_t nx, float *to)
{
    for (int64_t i = 0; i < w->n_outer; i++, from += w->from_outer) {
        for (int64_t k = 0; k < w->n_inner * w->from_inner; k += 16)
            __builtin_prefetch(from + w->from_outer + k);
        for (int64_t j = 0; j < w->n_inner; j++)
            for (int64_t tx = 0; tx < nx; tx++)
                to[i * w->to_outer + j * w->to_inner + tx * w->to_tap] =
                    from[j * w->from_inner + position[tx]];
    }
}

/* Of windows of one pixel a whole block; weights of an output are neighbours. False: not this way.
 */
static bool gather_block(const struct weights *w, int64_t out, int64_t in, int64_t outputs,
                         int64_t inputs, int64_t columns, float *to)
{
    const float *from = w->values + out * w->out_step + in * w->in_step;
    const char *rows[TRANSPOSE_ROWS];
    if (w->kernel > 1)
        return false;
    if (w->backward) {
        for (int64_t i = 0; i < inputs; i++)
            memcpy(to + i * columns, from + i * w->in_step, (size_t)outputs * sizeof *to);
        return true;
    }
    if (outputs != TRANSPOSE_ROWS || columns != TRANSPOSE_ROWS)
        return false;
    for (int64_t j = 0; j < outputs; j++) {
        rows[j] = (const char *)(from + j * w->out_step);
        for (int64_t i = 0; i < inputs; i += 16) /* of the next block */
            __builtin_prefetch(from + j * w->out_step + inputs + i);
    }
    transpose_rows(rows, inputs, false, (char *)to, (size_t)columns * sizeof *to);
    return true;
}

/* The weights of one line of taps: (taps, depth, columns) floats, zeros where there is no such
 * input or output. They are read in the order of the memory, each cache line once: weights of an
 * output channel are neighbours. */
static void gather_line(const struct pass *p, const struct weights *w, int64_t out, int64_t in,
                        int64_t ty, bool folded, float *to)
{
    const struct gemm_kernel *product = p->v->product;
    const int64_t columns = product->columns, depth = product->depth, c = p->window.c;
    const int64_t nx = p->window.nx, rest = c - in;
    const int64_t outputs = p->o - out < columns ? p->o - out : columns;
    const int64_t inputs = rest < depth ? rest : depth;
    const float *from = w->values + out * w->out_step;
    int64_t position[KERNEL];
    for (int64_t tx = 0; tx < nx; tx++)
        position[tx] = kernel_position(w, ty, tx);
    if (folded || outputs < columns || inputs < depth)
        memset(to, 0, (size_t)((folded ? 1 : nx) * depth * columns) * sizeof *to);
    if (folded) {
        for (int64_t k = in; k < in + depth && k < nx * c; k++)
            for (int64_t j = 0; j < outputs; j++)
                to[(k - in) * columns + j] =
                    from[j * w->out_step + k % c * w->in_step + position[k / c]];
        return;
    }
    if (gather_block(w, out, in, outputs, inputs, columns, to))
        return;
    from += in * w->in_step;
    struct walk walk = {outputs, inputs, w->out_step, w->in_step, 1, columns, depth * columns};
    if (w->backward)
        walk = (struct walk){inputs, outputs, w->in_step, w->out_step, columns, 1, depth * columns};
    if (nx == 3)
        gather_taps(from, &walk, position, 3, to);
    else
        gather_taps(from, &walk, position, nx, to);
}

/* For maps of bf16 weights are rounded to bf16, whatever multiplies them. */
MULTIVERSION static void pack_floats(const float *restrict from, int64_t n, bool bf16,
                                     float *restrict to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = bf16 ? bf16_widen(bf16_narrow(from[i])) : from[i];
}

/* (depth, columns) floats become (depth / 2, columns, 2) bf16: high parts, or low ones. */
MULTIVERSION static void pack_bf16(const float *restrict from, int64_t depth, int64_t columns,
                                   bool low, uint32_t *restrict to)
{
    for (int64_t k = 0; k < depth; k += 2, from += 2 * columns, to += columns)
        for (int64_t j = 0; j < columns; j++) {
            float a = from[j], b = from[columns + j];
            if (low) {
                a -= bf16_widen(bf16_narrow(a));
                b -= bf16_widen(bf16_narrow(b));
            }
            to[j] = (uint32_t)bf16_narrow(b) << 16 | bf16_narrow(a);
        }
}

static void pack_pass(const struct pass *p, const struct weights *w, char *packed, int threads)
{
    const struct gemm_kernel *product = p->v->product;
    const int64_t depth = product->depth, columns = product->columns;
    const size_t step = gemm_kernel_step_bytes(product), pair = step * (p->v->split ? 2 : 1);
    struct panel panel;
    panel_lay_out(&panel, &p->window, p->v, PANEL_A, 1, 1, 1);
    const int64_t groups = count_divide_up(panel.channels, depth),
                  positions = p->window.ny * panel.nx;
    assert(p->window.nx <= KERNEL && depth * columns <= STEP);
#pragma omp parallel for schedule(static) collapse(2) num_threads(threads)
    for (int64_t b = 0; b < count_divide_up(p->o, columns); b++)
        for (int64_t g = 0; g < groups; g++)
            for (int64_t t = 0; t < positions; t++) {
                float values[KERNEL * STEP];
                const int64_t tx = t % panel.nx;
                if (tx == 0)
                    gather_line(p, w, b * columns, g * depth, t / panel.nx, panel.folded, values);
                const float *from = values + tx * depth * columns;
                char *to = packed + (size_t)((b * positions + t) * groups + g) * pair;
                if (product->values == GEMM_FLOAT)
                    pack_floats(from, depth * columns, p->v->bf16_maps, (float *)to);
                else
                    pack_bf16(from, depth, columns, false, (uint32_t *)to);
                if (p->v->split)
                    pack_bf16(from, depth, columns, true, (uint32_t *)(to + step));
            }
}

size_t conv_packed_bytes(const struct precision *v, const struct conv_shape *s)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        return winograd_packed_bytes(winograd, &w);
    }
    const struct pass forward = forward_pass(v, s);
    const size_t forth = pass_packed_bytes(&forward);
    size_t back = 0;
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const struct pass p = backward_pass(v, s, py, px);
            if (p.window.ny && p.window.nx)
                back += pass_packed_bytes(&p);
        }
    return forth > back ? forth : back;
}

void conv_pack_forward(const struct precision *v, const struct conv_shape *s, const float *weight,
                       void *packed, int threads)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        winograd_pack_forward(winograd, &w, weight, packed, threads);
        return;
    }
    const struct pass p = forward_pass(v, s);
    const int64_t area = conv_rows(s) * s->kernel;
    const struct weights w = {
        .values = weight, .out_step = s->c * area, .in_step = area, .kernel = s->kernel, .s = s};
    pack_pass(&p, &w, packed, threads);
}

void conv_pack_backward(const struct precision *v, const struct conv_shape *s, const float *weight,
                        void *packed, int threads)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        winograd_pack_backward(winograd, &w, weight, packed, threads);
        return;
    }
    const int64_t area = conv_rows(s) * s->kernel;
    char *to = packed;
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const struct pass p = backward_pass(v, s, py, px);
            const struct weights w = {.values = weight,
                                      .out_step = area,
                                      .in_step = s->c * area,
                                      .kernel = s->kernel,
                                      .backward = true,
                                      .s = s,
                                      .py = py,
                                      .px = px};
            if (!p.window.ny || !p.window.nx)
                continue;
            pack_pass(&p, &w, to, threads);
            to += pass_packed_bytes(&p);
        }
}

/* ---- the gradient of the weights ---- */

static void unpack_winograd(const struct conv_shape *s, const float *sum, float *grad, int threads)
{
    const int64_t area = s->kernel * s->kernel, c = s->c;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < s->o; o++)
        for (int64_t i = 0; i < c; i++)
            for (int64_t k = 0; k < area; k++)
                grad[(o * c + i) * area + k] = sum[(o * area + k) * c + i];
}

size_t conv_partial_bytes(const struct precision *v, const struct conv_shape *s)
{
    if (winograd_gradient_product(v, s))
        return (size_t)(s->grains * s->o * s->c * s->kernel * s->kernel) * sizeof(float);
    return gradient_shared_bytes(v, s);
}

void conv_backward_weights(const struct precision *v, const struct conv_shape *s, const void *x,
                           const void *dy, void *partials, float *grad,
                           const struct workspace *work)
{
    const struct gemm_kernel *winograd = winograd_gradient_product(v, s);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        winograd_backward_weights(winograd, &w, x, dy, partials, work);
        grains_sum_floats(partials, s->grains, s->o * s->c * s->kernel * s->kernel, work->threads);
        unpack_winograd(s, partials, grad, work->threads);
        return;
    }
    gradient_of_weights(v, s, x, dy, partials, grad, work);
}

/* ---- memory ---- */

static void raise_to(size_t *most, size_t bytes)
{
    if (bytes > *most)
        *most = bytes;
}

static size_t pass_bytes(const struct pass *whole)
{
    const struct pass d = make_direct(whole);
    size_t bytes;
    pass_memory(is_direct(whole) ? &d : whole, &bytes);
    return bytes;
}

size_t conv_work_bytes(const struct precision *v, const struct conv_shape *s, int threads)
{
    const struct gemm_kernel *winograd = winograd_product(v, s);
    size_t most = winograd_gradient_product(v, s) ? 0 : gradient_work_bytes(v, s, threads);
    if (winograd) {
        const struct winograd_shape w = winograd_shape(v, s);
        raise_to(&most, winograd_work_bytes(winograd, &w));
        return most;
    }
    const struct pass forward = forward_pass(v, s);
    raise_to(&most, pass_bytes(&forward));
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const struct pass p = backward_pass(v, s, py, px);
            if (p.window.ny && p.window.nx && p.rows && p.columns)
                raise_to(&most, pass_bytes(&p));
        }
    return most;
}
