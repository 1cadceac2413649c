/* The functions of activations.h for one type of values: a template, included once by each of
 * maps_*.c after it has defined ELEMENT      the type of a value in memory WIDEN(e)     the float
 * that e stands for NARROW(v)    the ELEMENT nearest to the float v KEY          the signed integer
 * as wide as an ELEMENT key_of(e)    one that grows with e, and is largest for NaNs value_of(k) the
 * ELEMENT that has the key k MAPS, NAME   the struct that the functions go into, and its name.
 *
 * All loops over channels are plain C that the compiler vectorizes, once for each of MULTIVERSION's
 * levels; tasks are handed to threads outside of those functions, which OpenMP asks for. */
#include <assert.h>
#include <math.h>
#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "base/count.h"
#include "base/multiversion.h"
#include "engine/activations.h"

enum {
    NORM_ROWS = 256,  /* pixels in a task of batch normalization, about */
    SUM_ROWS = 8,     /* pixels summed in float before doubles take over */
    SUM_BLOCK = 512,  /* channels whose sums stay in the first-level cache */
    TILE = 8192,      /* bytes that do, too */
    AHEAD = 2048,     /* bytes: so early is memory asked for what will be read */
    STREAM = 8 << 20, /* bytes: maps from here on are written past the caches */
    KERNEL = 3,       /* of a pooling window, at most */
    TAPS = KERNEL * KERNEL,
    STRIP_COLUMNS = 32, /* of max_pool_backward */
    STRIP_CHANNELS = 64,
    COLORS = 4,        /* channels of a picture, at most */
    LOAD_PIXELS = 64,  /* of which coefficients are tabled */
    ELEMENTS = 1 << 14 /* values in a task of a plain conversion */
};

static int64_t bytes(int64_t values)
{
    return values * (int64_t)sizeof(ELEMENT);
}

/* Asks memory for what comes AHEAD of n values. The machine does so by itself, but only within a
 * page, and late where there is arithmetic between loads: a third faster for bf16. */
static inline void prefetch(const ELEMENT *x, int64_t n)
{
    const uintptr_t at = (uintptr_t)x + AHEAD;
    for (int64_t i = 0; i < bytes(n); i += 64)
        __builtin_prefetch((const void *)(at + (uintptr_t)i));
}

/* Copies to memory past the caches. A line that is written in the plain way is first read from
 * memory, which for a map that no cache will keep is a third of the traffic. Maps below STREAM
 * are better off in the caches, where their reader finds them. */
static inline void stream(ELEMENT *to, const ELEMENT *from, int64_t n)
{
#if defined(__x86_64__)
    const int64_t line = 64 / (int64_t)sizeof *to;
    const int64_t misfit = (int64_t)((uintptr_t)to % 64 / sizeof *to);
    const int64_t head = count_min(misfit ? line - misfit : 0, n);
    memcpy(to, from, (size_t)head * sizeof *to);
    for (n -= head, to += head, from += head; n >= line; n -= line, to += line, from += line)
        for (int i = 0; i < 4; i++)
            _mm_stream_si128((__m128i *)to + i, _mm_loadu_si128((const __m128i *)from + i));
#endif
    memcpy(to, from, (size_t)n * sizeof *to);
}

/* Makes streamed values visible to other threads. */
static inline void stream_end(void)
{
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

/* ---- batch normalization, forward ---- */

/* The backward pass finds out again by this what ReLU let through. So it must round alike in both
 * passes: it does, as a multiplication with one use is fused with the addition wherever the
 * machine can. (Rounding to bf16 keeps a sign, but for values below 1e-40 that become 0.) */
static inline float norm(float x, float mean, float scale, float bias)
{
    return (x - mean) * scale + bias;
}

/* ReLU is v < bottom ? bottom : v, and what it lets through v > bottom. A NaN stays one. */
static inline float bottom_of(bool relu)
{
    return relu ? 0 : -INFINITY;
}

MULTIVERSION static void normalize(const ELEMENT *x, const ELEMENT *residual,
                                   const struct norm_channels *k, int64_t pixels, int64_t c,
                                   float bottom, ELEMENT *y)
{
    const float *mean = k->mean, *scale = k->scale, *bias = k->bias;
    for (int64_t p = 0; p < pixels; p++, x += c, y += c) {
        prefetch(x, c);
        if (residual) {
            prefetch(residual, c);
#pragma omp simd
            for (int64_t i = 0; i < c; i++) {
                const float v = norm(WIDEN(x[i]), mean[i], scale[i], bias[i]) + WIDEN(residual[i]);
                y[i] = NARROW(v < bottom ? bottom : v);
            }
            residual += c;
        } else {
#pragma omp simd
            for (int64_t i = 0; i < c; i++) {
                const float v = norm(WIDEN(x[i]), mean[i], scale[i], bias[i]);
                y[i] = NARROW(v < bottom ? bottom : v);
            }
        }
    }
}

static void norm_forward(const struct norm_shape *s, const void *x, const struct norm_channels *k,
                         const void *residual, bool relu, void *y, int threads)
{
    const int64_t pixels = s->images * s->pixels, c = s->c;
    const float bottom = bottom_of(relu);
    const int64_t tile = TILE / bytes(c); /* pixels */
    const bool large = bytes(pixels * c) >= STREAM && tile && y != x;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < pixels; p += NORM_ROWS) {
        const int64_t end = count_min(p + NORM_ROWS, pixels), step = large ? tile : NORM_ROWS;
        for (int64_t q = p; q < end; q += step) {
            ELEMENT buffer[TILE / sizeof(ELEMENT)];
            const int64_t n = count_min(step, end - q), at = q * c;
            ELEMENT *to = (ELEMENT *)y + at;
            normalize((const ELEMENT *)x + at, residual ? (const ELEMENT *)residual + at : NULL, k,
                      n, c, bottom, large ? buffer : to);
            if (large)
                stream(to, buffer, n * c);
        }
        stream_end();
    }
}

/* ---- batch normalization, backward ---- */

/* Groups of whole images that one task sums over, about NORM_ROWS pixels each. */
struct groups {
    int64_t images, per_grain, images_per_grain;
};

static struct groups group(const struct norm_shape *s)
{
    struct groups g = {.images = s->pixels >= NORM_ROWS ? 1 : NORM_ROWS / s->pixels,
                       .images_per_grain = s->images / s->grains};
    g.per_grain = (g.images_per_grain + g.images - 1) / g.images;
    return g;
}

/* The pixels of task i: *first is set to the first one's number. */
static int64_t group_pixels(const struct norm_shape *s, const struct groups *g, int64_t i,
                            int64_t *first)
{
    const int64_t image = i % g->per_grain * g->images;
    *first = (i / g->per_grain * g->images_per_grain + image) * s->pixels;
    return count_min(g->images_per_grain - image, g->images) * s->pixels;
}

static int64_t norm_partials(const struct norm_shape *s)
{
    return s->grains * group(s).per_grain;
}

/* Adds each grain's groups in order, and moves grain g's sum to row g. */
static void sum_groups(const struct norm_shape *s, const struct groups *g, double *sums)
{
    const int64_t n = 2 * s->c;
    for (int64_t grain = 0; grain < s->grains; grain++) {
        const double *from = sums + grain * g->per_grain * n;
        double *to = sums + grain * n;
        if (to != from)
            memcpy(to, from, (size_t)n * sizeof *to);
        for (int64_t i = 1; i < g->per_grain; i++)
            for (int64_t j = 0; j < n; j++)
                to[j] += from[i * n + j];
    }
}

/* Adds `rows` pixels of n channels to sum and product. rows is a constant where this is inlined,
 * so the inner loop is unrolled and the outer one vectorized. */
static inline __attribute__((always_inline)) void
sum_rows(const ELEMENT *x, const ELEMENT *y, ELEMENT *dy, int rows, int64_t c, int64_t n,
         const float *mean, const float *scale, const float *bias, float bottom, double *sum,
         double *product)
{
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float s = 0, p = 0;
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const float v = WIDEN(x[r * c + i]), d = WIDEN(dy[r * c + i]);
            const bool passed =
                y ? WIDEN(y[r * c + i]) > 0 : norm(v, mean[i], scale[i], bias[i]) > bottom;
            const float masked = passed ? d : 0;
            if (y)
                dy[r * c + i] = NARROW(masked);
            s += masked;
            p += masked * (v - mean[i]);
        }
        sum[i] += (double)s;
        product[i] += (double)p;
    }
}

/* Floats are precise enough for SUM_ROWS pixels: their rounding errors, each at most 2^-24 of a
 * block's sum, are as independent as the blocks are. */
MULTIVERSION static void sum_gradients(const ELEMENT *x, const ELEMENT *y, ELEMENT *dy,
                                       int64_t pixels, int64_t c, const struct norm_channels *k,
                                       float bottom, double *sums)
{
    memset(sums, 0, (size_t)(2 * c) * sizeof *sums);
    for (int64_t b = 0; b < c; b += SUM_BLOCK) {
        const int64_t n = c - b < SUM_BLOCK ? c - b : SUM_BLOCK;
        const float *mean = k->mean + b, *scale = k->scale + b, *bias = k->bias + b;
        double *sum = sums + b, *product = sum + c;
        int64_t p = 0;
        for (; p + SUM_ROWS <= pixels; p += SUM_ROWS) {
            const int64_t at = p * c + b;
            for (int r = 0; r < SUM_ROWS; r++) {
                prefetch(x + at + r * c, n);
                prefetch(dy + at + r * c, n);
                if (y)
                    prefetch(y + at + r * c, n);
            }
            if (y)
                sum_rows(x + at, y + at, dy + at, SUM_ROWS, c, n, mean, scale, bias, bottom, sum,
                         product);
            else
                sum_rows(x + at, NULL, dy + at, SUM_ROWS, c, n, mean, scale, bias, bottom, sum,
                         product);
        }
        for (; p < pixels; p++) {
            const int64_t at = p * c + b;
            sum_rows(x + at, y ? y + at : NULL, dy + at, 1, c, n, mean, scale, bias, bottom, sum,
                     product);
        }
    }
}

static void norm_backward_sums(const struct norm_shape *s, const void *x, const void *y, void *dy,
                               const struct norm_channels *k, bool relu, double *sums, int threads)
{
    assert(!(y && relu));
    const struct groups g = group(s);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < s->grains * g.per_grain; i++) {
        int64_t first;
        const int64_t pixels = group_pixels(s, &g, i, &first), at = first * s->c;
        sum_gradients((const ELEMENT *)x + at, y ? (const ELEMENT *)y + at : NULL,
                      (ELEMENT *)dy + at, pixels, s->c, k, bottom_of(relu), sums + i * 2 * s->c);
    }
    sum_groups(s, &g, sums);
}

MULTIVERSION static void normalize_backward(ELEMENT *x, const ELEMENT *dy, int64_t pixels,
                                            int64_t c, const struct norm_channels *k, float bottom,
                                            const float *constant, const float *slope)
{
    const float *mean = k->mean, *scale = k->scale, *bias = k->bias;
    for (int64_t p = 0; p < pixels; p++, x += c, dy += c) {
        prefetch(x, c);
        prefetch(dy, c);
#pragma omp simd
        for (int64_t i = 0; i < c; i++) {
            const float v = WIDEN(x[i]), d = WIDEN(dy[i]);
            const float masked = norm(v, mean[i], scale[i], bias[i]) > bottom ? d : 0;
            x[i] = NARROW(masked * scale[i] - constant[i] - (v - mean[i]) * slope[i]);
        }
    }
}

static void norm_backward(const struct norm_shape *s, void *x, const void *dy,
                          const struct norm_channels *k, bool relu, const float *constant,
                          const float *slope, int threads)
{
    const int64_t pixels = s->images * s->pixels;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < pixels; p += NORM_ROWS) {
        const int64_t at = p * s->c;
        normalize_backward((ELEMENT *)x + at, (const ELEMENT *)dy + at,
                           count_min(NORM_ROWS, pixels - p), s->c, k, bottom_of(relu), constant,
                           slope);
    }
}

/* ---- pooling ---- */

static inline int64_t clamp(int64_t v, int64_t length)
{
    return v < 0 ? 0 : v < length ? v : length - 1;
}

/* The rows i and columns j of a window's pixels: tap t is pixel (i[t / KERNEL], j[t % KERNEL]).
 * There are always TAPS. Those outside of the map or of a smaller kernel repeat their nearest
 * pixel inside; in reading order the first maximum is the same with them. */
struct window {
    int64_t i[KERNEL], j[KERNEL];
};

static inline struct window window_at(const struct pool_shape *s, int64_t a, int64_t b)
{
    struct window at;
    for (int k = 0; k < KERNEL; k++) {
        const int64_t tap = k < s->kernel ? k : s->kernel - 1;
        at.i[k] = clamp(a * s->stride - s->padding + tap, s->h);
        at.j[k] = clamp(b * s->stride - s->padding + tap, s->w);
    }
    return at;
}

/* Keys rather than values are compared: bf16 need not be widened, and NaNs need no care. */
MULTIVERSION static void max_row(const struct pool_shape *s, const ELEMENT *x, int64_t a,
                                 ELEMENT *y)
{
    for (int64_t b = 0; b < s->ow; b++, y += s->c) {
        const struct window at = window_at(s, a, b);
        const ELEMENT *from[TAPS];
        for (int t = 0; t < TAPS; t++)
            from[t] = x + (at.i[t / KERNEL] * s->w + at.j[t % KERNEL]) * s->c;
#pragma omp simd
        for (int64_t i = 0; i < s->c; i++) {
            KEY most = key_of(from[0][i]);
#pragma GCC unroll 8
            for (int t = 1; t < TAPS; t++) {
                const KEY v = key_of(from[t][i]);
                most = v > most ? v : most;
            }
            y[i] = value_of(most);
        }
    }
}

static void max_pool(const struct pool_shape *s, const void *x, void *y, int threads)
{
    assert(s->kernel <= KERNEL && s->padding < s->kernel);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < s->images * s->oh; r++)
        max_row(s, (const ELEMENT *)x + r / s->oh * s->h * s->w * s->c, r % s->oh,
                (ELEMENT *)y + r * s->ow * s->c);
}

/* The backward pass goes down a strip of columns, window by window, and adds each window's
 * gradient to float sums of its pixels. A row of them is written when no window comes to it any
 * more, so that the rows of one window are all there is: row i of the map is row i % KERNEL here.
 * What windows at the strip's sides add to the margins is left to the strips beside it. */
struct row_tile {
    float sums[KERNEL][STRIP_COLUMNS + 2 * (KERNEL - 1)][STRIP_CHANNELS];
};

/* Adds dy to the sums of the pixel that has the maximum first, for n channels. Two loops: in one,
 * the compiler turns the choice into branches. */
static inline void spread(const ELEMENT *const *x, const ELEMENT *dy, int64_t n, float *const *sums)
{
    int first[STRIP_CHANNELS];
    float d[STRIP_CHANNELS];
#pragma omp simd
    for (int64_t k = 0; k < n; k++) {
        KEY most = key_of(x[0][k]), found = 0;
#pragma GCC unroll 8
        for (int t = 1; t < TAPS; t++) {
            const KEY v = key_of(x[t][k]);
            found = v > most ? (KEY)t : found;
            most = v > most ? v : most;
        }
        first[k] = found;
        d[k] = WIDEN(dy[k]);
    }
    for (int t = 0; t < TAPS; t++) {
        float *sum = sums[t];
#pragma omp simd
        for (int64_t k = 0; k < n; k++)
            sum[k] += first[k] == t ? d[k] : 0;
    }
}

/* Writes n channels of `columns` pixels and clears their sums. */
static inline void write_row(const struct pool_shape *s, float (*sums)[STRIP_CHANNELS],
                             int64_t columns, int64_t n, bool large, ELEMENT *dx)
{
    for (int64_t j = 0; j < columns; j++, dx += s->c) {
        ELEMENT buffer[STRIP_CHANNELS];
        ELEMENT *to = large ? buffer : dx;
        float *sum = sums[KERNEL - 1 + j];
#pragma omp simd
        for (int64_t k = 0; k < n; k++) {
            to[k] = NARROW(sum[k]);
            sum[k] = 0;
        }
        if (large)
            stream(dx, buffer, n);
    }
}

/* Columns j0 and on of an image, n channels from where x, dy and dx point. Maxima are found again
 * rather than kept since the forward pass, as the input is kept anyway. */
MULTIVERSION static void max_strip_backward(const struct pool_shape *s, const ELEMENT *x,
                                            const ELEMENT *dy, int64_t j0, int64_t n, bool large,
                                            ELEMENT *dx)
{
    struct row_tile strip = {0};
    const int64_t columns = s->w - j0 < STRIP_COLUMNS ? s->w - j0 : STRIP_COLUMNS;
    /* The windows that reach into the strip. */
    const int64_t before = j0 + s->padding - s->kernel;
    const int64_t last = (j0 + columns - 1 + s->padding) / s->stride;
    const int64_t b0 = before < 0 ? 0 : before / s->stride + 1;
    const int64_t b1 = last < s->ow ? last + 1 : s->ow;
    int64_t row = 0; /* to be written next */
    for (int64_t a = 0; a < s->oh; a++) {
        for (; row < a * s->stride - s->padding; row++)
            write_row(s, strip.sums[row % KERNEL], columns, n, large,
                      dx + (row * s->w + j0) * s->c);
        for (int64_t b = b0; b < b1; b++) {
            const struct window at = window_at(s, a, b);
            const ELEMENT *from[TAPS];
            float *sums[TAPS];
            for (int t = 0; t < TAPS; t++) {
                const int64_t i = at.i[t / KERNEL], j = at.j[t % KERNEL];
                from[t] = x + (i * s->w + j) * s->c;
                sums[t] = strip.sums[i % KERNEL][KERNEL - 1 + j - j0];
            }
            spread(from, dy + (a * s->ow + b) * s->c, n, sums);
        }
    }
    for (; row < s->h; row++)
        write_row(s, strip.sums[row % KERNEL], columns, n, large, dx + (row * s->w + j0) * s->c);
}

static void max_pool_backward(const struct pool_shape *s, const void *x, const void *dy, void *dx,
                              int threads)
{
    assert(s->kernel <= KERNEL && s->padding < s->kernel);
    const int64_t strips = (s->w + STRIP_COLUMNS - 1) / STRIP_COLUMNS, c = s->c;
    const bool large = bytes(s->images * s->h * s->w * c) >= STREAM;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < s->images * strips; r++) {
        const int64_t image = r / strips;
        const int64_t in = image * s->h * s->w * c, out = image * s->oh * s->ow * c;
        for (int64_t k = 0; k < c; k += STRIP_CHANNELS)
            max_strip_backward(s, (const ELEMENT *)x + in + k, (const ELEMENT *)dy + out + k,
                               r % strips * STRIP_COLUMNS, count_min(STRIP_CHANNELS, c - k), large,
                               (ELEMENT *)dx + in + k);
        stream_end();
    }
}

MULTIVERSION static void add_pixels(const ELEMENT *restrict x, int64_t pixels, int64_t c,
                                    float *restrict y)
{
    memset(y, 0, (size_t)c * sizeof *y);
    for (int64_t p = 0; p < pixels; p++, x += c)
        for (int64_t i = 0; i < c; i++)
            y[i] += WIDEN(x[i]);
    for (int64_t i = 0; i < c; i++)
        y[i] /= (float)pixels;
}

static void average_pool(const struct norm_shape *s, const void *x, float *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        add_pixels((const ELEMENT *)x + n * s->pixels * s->c, s->pixels, s->c, y + n * s->c);
}

static void average_pool_backward(const struct norm_shape *s, const float *dy, void *dx,
                                  int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++) {
        ELEMENT *first = (ELEMENT *)dx + n * s->pixels * s->c;
        for (int64_t i = 0; i < s->c; i++)
            first[i] = NARROW(dy[n * s->c + i] / (float)s->pixels);
        for (int64_t p = 1; p < s->pixels; p++)
            memcpy(first + p * s->c, first, (size_t)s->c * sizeof *first);
    }
}

/* A quarter of the sum of four pixels' n channels, at most STRIP_CHANNELS. */
static inline void quarter(const ELEMENT *const *from, int64_t n, ELEMENT *to)
{
    const ELEMENT *a = from[0], *b = from[1], *c = from[2], *d = from[3];
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = NARROW(0.25F * ((WIDEN(a[i]) + WIDEN(b[i])) + (WIDEN(c[i]) + WIDEN(d[i]))));
}

/* What is read where there is no pixel. */
static const ELEMENT no_pixel[STRIP_CHANNELS];

MULTIVERSION static void mean_row(const struct pool_shape *s, const ELEMENT *x, int64_t a,
                                  ELEMENT *y)
{
    for (int64_t b = 0; b < s->ow; b++, y += s->c)
        for (int64_t k = 0; k < s->c; k += STRIP_CHANNELS) {
            const ELEMENT *from[4];
            for (int t = 0; t < 4; t++) {
                const int64_t i = a * s->stride + t / 2, j = b * s->stride + t % 2;
                from[t] = i < s->h && j < s->w ? x + (i * s->w + j) * s->c + k : no_pixel;
            }
            quarter(from, s->c - k < STRIP_CHANNELS ? s->c - k : STRIP_CHANNELS, y + k);
        }
}

static void mean_pool(const struct pool_shape *s, const void *x, void *y, int threads)
{
    assert(s->kernel == 2 && s->padding == 0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < s->images * s->oh; r++)
        mean_row(s, (const ELEMENT *)x + r / s->oh * s->h * s->w * s->c, r % s->oh,
                 (ELEMENT *)y + r * s->ow * s->c);
}

/* The window whose tap `tap` is at pixel i, or -1. */
static inline int64_t window_of(int64_t i, int64_t tap, int64_t stride)
{
    return i >= tap && (i - tap) % stride == 0 ? (i - tap) / stride : -1;
}

/* Row i of the gradient is gathered from the windows that the row is in: at most four a pixel. */
MULTIVERSION static void mean_row_backward(const struct pool_shape *s, const ELEMENT *dy, int64_t i,
                                           ELEMENT *dx)
{
    for (int64_t j = 0; j < s->w; j++, dx += s->c)
        for (int64_t k = 0; k < s->c; k += STRIP_CHANNELS) {
            const ELEMENT *from[4];
            for (int t = 0; t < 4; t++) {
                const int64_t a = window_of(i, t / 2, s->stride),
                              b = window_of(j, t % 2, s->stride);
                from[t] = a >= 0 && b >= 0 ? dy + (a * s->ow + b) * s->c + k : no_pixel;
            }
            quarter(from, s->c - k < STRIP_CHANNELS ? s->c - k : STRIP_CHANNELS, dx + k);
        }
}

static void mean_pool_backward(const struct pool_shape *s, const void *dy, void *dx, int threads)
{
    assert(s->kernel == 2 && s->padding == 0);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t r = 0; r < s->images * s->h; r++)
        mean_row_backward(s, (const ELEMENT *)dy + r / s->h * s->oh * s->ow * s->c, r % s->h,
                          (ELEMENT *)dx + r * s->w * s->c);
}

/* ---- selective kernels ----
 * An image is a task: whatever is summed is summed over one image's pixels, in their order. */

MULTIVERSION static void add_halves(const ELEMENT *x, int64_t pixels, int64_t c, ELEMENT *y)
{
    for (int64_t k = 0; k < c; k += SUM_BLOCK) {
        const int64_t n = c - k < SUM_BLOCK ? c - k : SUM_BLOCK;
        double sums[SUM_BLOCK] = {0};
        for (int64_t p = 0; p < pixels; p++) {
            const ELEMENT *a = x + p * 2 * c + k, *b = a + c;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                sums[i] += (double)(WIDEN(a[i]) + WIDEN(b[i]));
        }
        for (int64_t i = 0; i < n; i++)
            y[k + i] = NARROW((float)(sums[i] / (double)pixels));
    }
}

static void halves_mean(const struct norm_shape *s, const void *x, void *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        add_halves((const ELEMENT *)x + n * s->pixels * 2 * s->c, s->pixels, s->c,
                   (ELEMENT *)y + n * s->c);
}

MULTIVERSION static void add_halves_backward(const ELEMENT *dy, int64_t pixels, int64_t c,
                                             ELEMENT *dx)
{
    for (int64_t p = 0; p < 2 * pixels; p++, dx += c)
#pragma omp simd
        for (int64_t i = 0; i < c; i++)
            dx[i] = NARROW(WIDEN(dx[i]) + WIDEN(dy[i]) / (float)pixels);
}

static void halves_mean_backward(const struct norm_shape *s, const void *dy, void *dx, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        add_halves_backward((const ELEMENT *)dy + n * s->c, s->pixels, s->c,
                            (ELEMENT *)dx + n * s->pixels * 2 * s->c);
}

/* The weights u and v of n channels: softmax over p and q. Neither is 1 minus the other, which
 * would be off by much of itself where it is small. */
static inline void mix_weights(const ELEMENT *p, const ELEMENT *q, int64_t n, float *u, float *v)
{
    for (int64_t i = 0; i < n; i++) {
        const float d = WIDEN(q[i]) - WIDEN(p[i]);
        u[i] = 1 / (1 + expf(d));
        v[i] = 1 / (1 + expf(-d));
    }
}

MULTIVERSION static void mix(const ELEMENT *x, const ELEMENT *logits, int64_t pixels, int64_t c,
                             ELEMENT *y)
{
    for (int64_t k = 0; k < c; k += SUM_BLOCK) {
        const int64_t n = c - k < SUM_BLOCK ? c - k : SUM_BLOCK;
        float u[SUM_BLOCK], v[SUM_BLOCK];
        mix_weights(logits + k, logits + c + k, n, u, v);
        for (int64_t p = 0; p < pixels; p++) {
            const ELEMENT *a = x + p * 2 * c + k, *b = a + c;
            ELEMENT *to = y + p * c + k;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                to[i] = NARROW(WIDEN(a[i]) * u[i] + WIDEN(b[i]) * v[i]);
        }
    }
}

static void halves_mix(const struct norm_shape *s, const void *x, const void *logits, void *y,
                       int threads)
{
    const int64_t c = s->c;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        mix((const ELEMENT *)x + n * s->pixels * 2 * c, (const ELEMENT *)logits + n * 2 * c,
            s->pixels, c, (ELEMENT *)y + n * s->pixels * c);
}

/* da = u dy, db = v dy. As u' = u v in p and -u v in q, the logits' gradients are the sum of
 * u v (a - b) dy over the pixels, and its negative. */
MULTIVERSION static void mix_backward(const ELEMENT *x, const ELEMENT *logits, const ELEMENT *dy,
                                      int64_t pixels, int64_t c, ELEMENT *dx, ELEMENT *dlogits)
{
    for (int64_t k = 0; k < c; k += SUM_BLOCK) {
        const int64_t n = c - k < SUM_BLOCK ? c - k : SUM_BLOCK;
        float u[SUM_BLOCK], v[SUM_BLOCK];
        double sums[SUM_BLOCK] = {0};
        mix_weights(logits + k, logits + c + k, n, u, v);
        for (int64_t p = 0; p < pixels; p++) {
            const ELEMENT *a = x + p * 2 * c + k, *b = a + c, *d = dy + p * c + k;
            ELEMENT *da = dx + p * 2 * c + k, *db = da + c;
#pragma omp simd
            for (int64_t i = 0; i < n; i++) {
                const float g = WIDEN(d[i]);
                sums[i] += (double)(g * (WIDEN(a[i]) - WIDEN(b[i])));
                da[i] = NARROW(g * u[i]);
                db[i] = NARROW(g * v[i]);
            }
        }
        for (int64_t i = 0; i < n; i++) {
            const float g = (float)(sums[i] * (double)(u[i] * v[i]));
            dlogits[k + i] = NARROW(g);
            dlogits[c + k + i] = NARROW(-g);
        }
    }
}

static void halves_mix_backward(const struct norm_shape *s, const void *x, const void *logits,
                                const void *dy, void *dx, void *dlogits, int threads)
{
    const int64_t c = s->c, map = s->pixels * c;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        mix_backward((const ELEMENT *)x + n * 2 * map, (const ELEMENT *)logits + n * 2 * c,
                     (const ELEMENT *)dy + n * map, s->pixels, c, (ELEMENT *)dx + n * 2 * map,
                     (ELEMENT *)dlogits + n * 2 * c);
}

/* ---- values in and out ---- */

/* Divisions, not products with reciprocals, so that bytes give bit by bit what floats give that a
 * caller normalized so. mean and deviation are repeated for every value. */
MULTIVERSION static void normalize_bytes(const uint8_t *restrict x, int64_t n,
                                         const float *restrict mean,
                                         const float *restrict deviation, ELEMENT *restrict y)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = NARROW(((float)x[i] / 255 - mean[i]) / deviation[i]);
}

static void load_bytes(const uint8_t *x, int64_t n, int64_t c, const float *mean,
                       const float *deviation, void *y, int threads)
{
    assert(c <= COLORS);
    float means[LOAD_PIXELS * COLORS], deviations[LOAD_PIXELS * COLORS];
    for (int64_t i = 0; i < LOAD_PIXELS * c; i++) {
        means[i] = mean[i % c];
        deviations[i] = deviation[i % c];
    }
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < n; p += LOAD_PIXELS)
        normalize_bytes(x + p * c, count_min(LOAD_PIXELS, n - p) * c, means, deviations,
                        (ELEMENT *)y + p * c);
}

MULTIVERSION static void narrow(const float *restrict from, int64_t n, ELEMENT *restrict to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = NARROW(from[i]);
}

MULTIVERSION static void widen(const ELEMENT *restrict from, int64_t n, float *restrict to)
{
    for (int64_t i = 0; i < n; i++)
        to[i] = WIDEN(from[i]);
}

static void load_floats(const float *x, int64_t n, void *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i += ELEMENTS)
        narrow(x + i, count_min(ELEMENTS, n - i), (ELEMENT *)y + i);
}

static void store_floats(const void *x, int64_t n, float *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i += ELEMENTS)
        widen((const ELEMENT *)x + i, count_min(ELEMENTS, n - i), y + i);
}

const struct activations MAPS = {
    .name = NAME,
    .element = sizeof(ELEMENT),
    .norm_forward = norm_forward,
    .norm_partials = norm_partials,
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
    .load_bytes = load_bytes,
    .load_floats = load_floats,
    .store_floats = store_floats,
};
