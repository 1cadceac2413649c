/* The float32 engine: convolutions as matrix products by OpenBLAS.
 *
 * A convolution is cut into chunks of about ROWS output pixels: some rows of one image, or some
 * whole small images. For each chunk the input pixels under the kernel are gathered into a matrix
 * with a row an output pixel ("im2col"), which stays in the second-level cache, and multiplied by
 * the weights. Threads take chunks; OpenBLAS itself runs on one thread each. A chunk never spans
 * two grains. Which row of a product an image is in can change OpenBLAS's rounding, so in
 * evaluation (`apart`) no chunk holds two images. */
#include <cblas.h>
#include <omp.h>
#include <string.h>

#include "clones.h"
#include "engine.h"

enum {
    ROWS = 256,        /* rows of a gathered matrix, about */
    OUT_BLOCK = 128,   /* output channels in a task of a 1x1 convolution's weight gradient */
    NORM_ROWS = 256,   /* pixels in a task of batch normalization, about */
    ELEMENTS = 1 << 14 /* values in a task of a plain copy */
};

/* ---- gathering ---- */

/* The pixels that a kernel covers, as the product sees them. Row (b, a) of the matrix starts at
 * source pixel (a * step + y0, b * step + x0) and holds ny x nx pixels from there. */
struct window {
    int64_t h, w, c; /* source */
    int64_t step, y0, x0, ny, nx;
};

/* dst (images * rows * columns, ny*nx*c): rows a0 to a0+rows of each image of src. Pixels outside
 * count as 0. */
static void gather(const struct window *win, const float *src, int64_t images, int64_t a0,
                   int64_t rows, int64_t columns, float *restrict dst)
{
    const int64_t c = win->c, run = win->nx * c;
    for (int64_t n = 0; n < images; n++, src += win->h * win->w * c)
        for (int64_t a = a0; a < a0 + rows; a++)
            for (int64_t b = 0; b < columns; b++) {
                const int64_t x = b * win->step + win->x0;
                const int64_t left = x < 0 ? (-x < win->nx ? -x : win->nx) : 0;
                const int64_t over = x + win->nx - win->w;
                const int64_t right =
                    over > 0 ? (over < win->nx - left ? over : win->nx - left) : 0;
                for (int64_t t = 0; t < win->ny; t++, dst += run) {
                    const int64_t y = a * win->step + win->y0 + t;
                    if (y < 0 || y >= win->h) {
                        memset(dst, 0, (size_t)run * sizeof *dst);
                        continue;
                    }
                    if (left)
                        memset(dst, 0, (size_t)(left * c) * sizeof *dst);
                    memcpy(dst + left * c, src + (y * win->w + x + left) * c,
                           (size_t)((win->nx - left - right) * c) * sizeof *dst);
                    if (right)
                        memset(dst + (win->nx - right) * c, 0, (size_t)(right * c) * sizeof *dst);
                }
            }
}

/* Chunks of a grid of rows x columns positions for each image. */
struct chunks {
    int64_t rows, columns;
    int64_t group;     /* images in a chunk; 1 when an image is cut */
    int64_t cut;       /* rows of the grid in a chunk of a cut image */
    int64_t per_image; /* chunks of a cut image */
    int64_t per_grain; /* chunks of a grain */
    int64_t images_per_grain, count;
};

struct chunk {
    int64_t image, images, row, rows;
};

static struct chunks cut(int64_t images, int64_t grains, int64_t rows, int64_t columns, bool apart)
{
    struct chunks k = {.rows = rows, .columns = columns, .images_per_grain = images / grains};
    const int64_t pixels = rows * columns;
    k.group = apart || pixels >= ROWS ? 1 : ROWS / pixels;
    if (k.group > k.images_per_grain)
        k.group = k.images_per_grain;
    k.cut = k.group > 1 || columns >= ROWS ? 1 : ROWS / columns;
    if (k.group > 1 || k.cut > rows)
        k.cut = rows;
    k.per_image = (rows + k.cut - 1) / k.cut;
    k.per_grain = (k.images_per_grain + k.group - 1) / k.group * k.per_image;
    k.count = grains * k.per_grain;
    return k;
}

static struct chunk chunk_at(const struct chunks *k, int64_t i)
{
    const int64_t grain = i / k->per_grain, in_grain = i % k->per_grain;
    const int64_t first = in_grain / k->per_image * k->group;
    struct chunk r = {.image = grain * k->images_per_grain + first,
                      .images = k->images_per_grain - first,
                      .row = in_grain % k->per_image * k->cut};
    if (r.images > k->group)
        r.images = k->group;
    r.rows = k->rows - r.row < k->cut ? k->rows - r.row : k->cut;
    return r;
}

static int64_t chunk_pixels(const struct chunks *k)
{
    return k->group * k->cut * k->columns;
}

/* c (m,n) = [c +] a (m,k) * b (k,n), each with its distance between rows. */
static void multiply(bool ta, bool tb, int64_t m, int64_t n, int64_t k, const float *a, int64_t lda,
                     const float *b, int64_t ldb, bool add, float *c, int64_t ldc)
{
    cblas_sgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans,
                (blasint)m, (blasint)n, (blasint)k, 1, a, (blasint)lda, b, (blasint)ldb, add, c,
                (blasint)ldc);
}

static float *workspace_of_thread(const struct workspace *work)
{
    return (float *)(work->memory + work->bytes * (size_t)omp_get_thread_num());
}

/* ---- convolution ---- */

static bool plain(const struct conv_shape *s)
{
    return s->kernel == 1 && s->stride == 1 && s->padding == 0;
}

/* The backward pass with stride s writes the input's pixels in s x s phases: those at rows
 * py, py+s, ... and columns px, px+s, ... A kernel row ky reaches such a row only if
 * ky = (py + padding) mod s, from output row a + (py + padding - ky) / s for the a-th of them.
 * With ky descending, these are neighbouring rows: a window again. */
static int64_t taps(const struct conv_shape *s, int64_t phase)
{
    const int64_t first = (phase + s->padding) % s->stride;
    return first < s->kernel ? (s->kernel - 1 - first) / s->stride + 1 : 0;
}

/* The kernel row of tap t of a phase; t = 0 is the one that looks furthest up. */
static int64_t tap_row(const struct conv_shape *s, int64_t phase, int64_t t)
{
    const int64_t first = (phase + s->padding) % s->stride;
    return first + (taps(s, phase) - 1 - t) * s->stride;
}

static int64_t tap_offset(const struct conv_shape *s, int64_t phase)
{
    return (phase + s->padding - tap_row(s, phase, 0)) / s->stride;
}

static int64_t phase_length(int64_t length, int64_t stride, int64_t phase)
{
    return phase < length ? (length - 1 - phase) / stride + 1 : 0;
}

static size_t conv_packed_bytes(const struct conv_shape *s)
{
    return (size_t)(s->o * s->c * s->kernel * s->kernel) * sizeof(float);
}

static size_t round_up(size_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* One gathered matrix, and the product of a phase before it is spread over the input's pixels. */
static size_t conv_work_bytes(const struct conv_shape *s)
{
    const int64_t area = s->kernel * s->kernel;
    struct chunks k = cut(s->images, s->grains, s->oh, s->ow, s->apart);
    size_t most = round_up((size_t)(chunk_pixels(&k) * area * s->c) * sizeof(float));
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            const int64_t rows = phase_length(s->h, s->stride, py);
            const int64_t columns = phase_length(s->w, s->stride, px);
            if (!rows || !columns)
                continue;
            k = cut(s->images, s->grains, rows, columns, s->apart);
            const int64_t pixels = chunk_pixels(&k);
            size_t bytes =
                round_up((size_t)(pixels * taps(s, py) * taps(s, px) * s->o) * sizeof(float)) +
                round_up((size_t)(pixels * s->c) * sizeof(float));
            if (bytes > most)
                most = bytes;
        }
    return most;
}

/* packed (o, ky, kx, c) */
static void conv_pack_forward(const struct conv_shape *s, const float *weight, void *packed,
                              int threads)
{
    const int64_t area = s->kernel * s->kernel, c = s->c;
    float *to = packed;
    openblas_set_num_threads(1);
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < s->o; o++)
        for (int64_t i = 0; i < c; i++)
            for (int64_t k = 0; k < area; k++)
                to[(o * area + k) * c + i] = weight[(o * c + i) * area + k];
}

/* packed: phase by phase (ty, tx, o, c) */
static void conv_pack_backward(const struct conv_shape *s, const float *weight, void *packed,
                               int threads)
{
    const int64_t area = s->kernel * s->kernel, c = s->c;
    float *to = packed;
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++)
            for (int64_t ty = 0; ty < taps(s, py); ty++)
                for (int64_t tx = 0; tx < taps(s, px); tx++, to += s->o * c) {
                    const int64_t k = tap_row(s, py, ty) * s->kernel + tap_row(s, px, tx);
#pragma omp parallel for schedule(static) num_threads(threads)
                    for (int64_t o = 0; o < s->o; o++)
                        for (int64_t i = 0; i < c; i++)
                            to[o * c + i] = weight[(o * c + i) * area + k];
                }
}

static void conv_forward(const struct conv_shape *s, const void *x, const void *packed, void *y,
                         const struct workspace *work)
{
    const struct window win = {.h = s->h,
                               .w = s->w,
                               .c = s->c,
                               .step = s->stride,
                               .y0 = -s->padding,
                               .x0 = -s->padding,
                               .ny = s->kernel,
                               .nx = s->kernel};
    const int64_t k = s->kernel * s->kernel * s->c;
    const struct chunks all = cut(s->images, s->grains, s->oh, s->ow, s->apart);
#pragma omp parallel for schedule(dynamic) num_threads(work->threads)
    for (int64_t i = 0; i < all.count; i++) {
        const struct chunk part = chunk_at(&all, i);
        const int64_t pixels = part.images * part.rows * s->ow;
        const float *from = (const float *)x + part.image * s->h * s->w * s->c;
        float *to = (float *)y + ((part.image * s->oh + part.row) * s->ow) * s->o;
        if (plain(s)) {
            from += part.row * s->w * s->c;
        } else {
            float *columns = workspace_of_thread(work);
            gather(&win, from, part.images, part.row, part.rows, s->ow, columns);
            from = columns;
        }
        multiply(false, true, pixels, s->o, k, from, k, packed, k, false, to, s->o);
    }
}

/* Adds or stores the product of a phase at its pixels of dx. */
CLONES static void spread(const struct conv_shape *s, const struct chunk *part, int64_t py,
                          int64_t px, int64_t columns, const float *restrict from,
                          float *restrict dx, bool add)
{
    const int64_t c = s->c;
    for (int64_t n = 0; n < part->images; n++)
        for (int64_t a = part->row; a < part->row + part->rows; a++)
            for (int64_t b = 0; b < columns; b++, from += c) {
                float *to = dx + (((part->image + n) * s->h + a * s->stride + py) * s->w +
                                  b * s->stride + px) *
                                     c;
                if (add)
                    for (int64_t i = 0; i < c; i++)
                        to[i] += from[i];
                else
                    memcpy(to, from, (size_t)c * sizeof *to);
            }
}

/* The pixels of one phase. */
static void conv_backward_phase(const struct conv_shape *s, int64_t py, int64_t px, const float *dy,
                                const float *packed, float *dx, bool add,
                                const struct workspace *work)
{
    const int64_t ny = taps(s, py), nx = taps(s, px), k = ny * nx * s->o;
    const int64_t rows = phase_length(s->h, s->stride, py);
    const int64_t columns = phase_length(s->w, s->stride, px);
    if (!rows || !columns || (!k && add))
        return;
    const struct window win = {.h = s->oh,
                               .w = s->ow,
                               .c = s->o,
                               .step = 1,
                               .y0 = k ? tap_offset(s, py) : 0,
                               .x0 = k ? tap_offset(s, px) : 0,
                               .ny = ny,
                               .nx = nx};
    const struct chunks all = cut(s->images, s->grains, rows, columns, s->apart);
    const size_t gathered = round_up((size_t)(chunk_pixels(&all) * k) * sizeof(float));
#pragma omp parallel for schedule(dynamic) num_threads(work->threads)
    for (int64_t i = 0; i < all.count; i++) {
        const struct chunk part = chunk_at(&all, i);
        const int64_t pixels = part.images * part.rows * columns;
        const float *from = dy + part.image * s->oh * s->ow * s->o;
        float *scratch = workspace_of_thread(work);
        float *product = (float *)((unsigned char *)scratch + gathered);
        if (!k) {
            memset(product, 0, (size_t)(pixels * s->c) * sizeof *product);
            spread(s, &part, py, px, columns, product, dx, false);
            continue;
        }
        if (plain(s)) {
            from += part.row * s->ow * s->o;
        } else {
            gather(&win, from, part.images, part.row, part.rows, columns, scratch);
            from = scratch;
        }
        if (s->stride == 1) {
            float *to = dx + (part.image * s->h + part.row) * s->w * s->c;
            multiply(false, false, pixels, s->c, k, from, k, packed, s->c, add, to, s->c);
        } else {
            multiply(false, false, pixels, s->c, k, from, k, packed, s->c, false, product, s->c);
            spread(s, &part, py, px, columns, product, dx, add);
        }
    }
}

static void conv_backward_data(const struct conv_shape *s, const void *dy, const void *packed,
                               void *dx, bool add, const struct workspace *work)
{
    const float *weights = packed;
    for (int64_t py = 0; py < s->stride; py++)
        for (int64_t px = 0; px < s->stride; px++) {
            conv_backward_phase(s, py, px, dy, weights, dx, add, work);
            weights += taps(s, py) * taps(s, px) * s->o * s->c;
        }
}

/* A task is one grain and one block of the weights: a kernel row, or for 1x1 kernels a range of
 * output channels. It goes through the grain's chunks in order. partials: (grains, o, ky, kx, c) */
static void conv_backward_weights(const struct conv_shape *s, const void *x, const void *dy,
                                  float *partials, const struct workspace *work)
{
    const int64_t row = s->kernel * s->c, k = s->kernel * row;
    const int64_t span = s->kernel == 1 ? OUT_BLOCK : s->o;
    const int64_t out_blocks = (s->o + span - 1) / span, blocks = s->kernel * out_blocks;
    const struct chunks all = cut(s->images, s->grains, s->oh, s->ow, s->apart);
#pragma omp parallel for schedule(dynamic) num_threads(work->threads)
    for (int64_t task = 0; task < s->grains * blocks; task++) {
        const int64_t grain = task / blocks, ky = task % blocks / out_blocks;
        const int64_t o = task % out_blocks * span, width = s->o - o < span ? s->o - o : span;
        const struct window win = {.h = s->h,
                                   .w = s->w,
                                   .c = s->c,
                                   .step = s->stride,
                                   .y0 = ky - s->padding,
                                   .x0 = -s->padding,
                                   .ny = 1,
                                   .nx = s->kernel};
        float *to = partials + (grain * s->o + o) * k + ky * row;
        for (int64_t i = 0; i < all.per_grain; i++) {
            const struct chunk part = chunk_at(&all, grain * all.per_grain + i);
            const int64_t pixels = part.images * part.rows * s->ow;
            const float *from = (const float *)x + part.image * s->h * s->w * s->c;
            const float *d = (const float *)dy + (part.image * s->oh + part.row) * s->ow * s->o + o;
            if (plain(s)) {
                from += part.row * s->w * s->c;
            } else {
                float *columns = workspace_of_thread(work);
                gather(&win, from, part.images, part.row, part.rows, s->ow, columns);
                from = columns;
            }
            multiply(true, false, width, row, pixels, d, s->o, from, row, i > 0, to, k);
        }
    }
}

static void conv_unpack_gradient(const struct conv_shape *s, const float *sum, float *grad,
                                 int threads)
{
    const int64_t area = s->kernel * s->kernel, c = s->c;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t o = 0; o < s->o; o++)
        for (int64_t i = 0; i < c; i++)
            for (int64_t k = 0; k < area; k++)
                grad[(o * c + i) * area + k] = sum[(o * area + k) * c + i];
}

/* ---- batch normalization ---- */

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
    const int64_t rest = g->images_per_grain - image;
    *first = (i / g->per_grain * g->images_per_grain + image) * s->pixels;
    return (rest < g->images ? rest : g->images) * s->pixels;
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

/* Sums are of doubles: a variance as the difference of two sums then keeps all of float's digits
 * as long as the mean is below some thousand deviations. */
CLONES static void sum_pixels(const float *restrict x, int64_t pixels, int64_t c,
                              double *restrict sum)
{
    double *restrict square = sum + c;
    memset(sum, 0, (size_t)(2 * c) * sizeof *sum);
    for (int64_t p = 0; p < pixels; p++, x += c)
        for (int64_t i = 0; i < c; i++) {
            const double v = (double)x[i];
            sum[i] += v;
            square[i] += v * v;
        }
}

static void norm_sums(const struct norm_shape *s, const void *x, double *sums, int threads)
{
    const struct groups g = group(s);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < s->grains * g.per_grain; i++) {
        int64_t first;
        const int64_t pixels = group_pixels(s, &g, i, &first);
        sum_pixels((const float *)x + first * s->c, pixels, s->c, sums + i * 2 * s->c);
    }
    sum_groups(s, &g, sums);
}

CLONES static void normalize(const float *x, int64_t pixels, int64_t c, const float *restrict mean,
                             const float *restrict scale, const float *restrict bias,
                             const float *residual, bool relu, float *y)
{
    for (int64_t p = 0; p < pixels; p++, x += c, y += c) {
        if (residual) {
#pragma omp simd
            for (int64_t i = 0; i < c; i++) {
                const float v = (x[i] - mean[i]) * scale[i] + bias[i] + residual[i];
                y[i] = relu && v <= 0 ? 0 : v;
            }
            residual += c;
        } else {
#pragma omp simd
            for (int64_t i = 0; i < c; i++) {
                const float v = (x[i] - mean[i]) * scale[i] + bias[i];
                y[i] = relu && v <= 0 ? 0 : v;
            }
        }
    }
}

static void norm_forward(const struct norm_shape *s, const void *x, const float *mean,
                         const float *scale, const float *bias, const void *residual, bool relu,
                         void *y, int threads)
{
    const int64_t pixels = s->images * s->pixels;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < pixels; p += NORM_ROWS) {
        const int64_t n = pixels - p < NORM_ROWS ? pixels - p : NORM_ROWS, at = p * s->c;
        normalize((const float *)x + at, n, s->c, mean, scale, bias,
                  residual ? (const float *)residual + at : NULL, relu, (float *)y + at);
    }
}

CLONES static void sum_gradients(const float *restrict x, const float *restrict y,
                                 const float *restrict dy, int64_t pixels, int64_t c,
                                 const float *restrict mean, double *restrict sum)
{
    double *restrict product = sum + c;
    memset(sum, 0, (size_t)(2 * c) * sizeof *sum);
    for (int64_t p = 0; p < pixels; p++, x += c, dy += c) {
        if (y) {
            for (int64_t i = 0; i < c; i++) {
                const float d = y[i] > 0 ? dy[i] : 0;
                sum[i] += (double)d;
                product[i] += (double)(d * (x[i] - mean[i]));
            }
            y += c;
        } else {
            for (int64_t i = 0; i < c; i++) {
                sum[i] += (double)dy[i];
                product[i] += (double)(dy[i] * (x[i] - mean[i]));
            }
        }
    }
}

static void norm_backward_sums(const struct norm_shape *s, const void *x, const void *y,
                               const void *dy, const float *mean, double *sums, int threads)
{
    const struct groups g = group(s);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
    for (int64_t i = 0; i < s->grains * g.per_grain; i++) {
        int64_t first;
        const int64_t pixels = group_pixels(s, &g, i, &first), at = first * s->c;
        sum_gradients((const float *)x + at, y ? (const float *)y + at : NULL,
                      (const float *)dy + at, pixels, s->c, mean, sums + i * 2 * s->c);
    }
    sum_groups(s, &g, sums);
}

CLONES static void normalize_backward(float *restrict x, const float *restrict y,
                                      float *restrict dy, int64_t pixels, int64_t c,
                                      const float *restrict mean, const float *restrict scale,
                                      const float *restrict constant, const float *restrict slope,
                                      bool keep)
{
    for (int64_t p = 0; p < pixels; p++, x += c, dy += c) {
        if (y) {
            for (int64_t i = 0; i < c; i++) {
                const float d = y[i] > 0 ? dy[i] : 0;
                x[i] = d * scale[i] - constant[i] - (x[i] - mean[i]) * slope[i];
                if (keep)
                    dy[i] = d;
            }
            y += c;
        } else {
            for (int64_t i = 0; i < c; i++)
                x[i] = dy[i] * scale[i] - constant[i] - (x[i] - mean[i]) * slope[i];
        }
    }
}

static void norm_backward(const struct norm_shape *s, void *x, const void *y, void *dy,
                          const float *mean, const float *scale, const float *constant,
                          const float *slope, bool keep, int threads)
{
    const int64_t pixels = s->images * s->pixels;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < pixels; p += NORM_ROWS) {
        const int64_t n = pixels - p < NORM_ROWS ? pixels - p : NORM_ROWS, at = p * s->c;
        normalize_backward((float *)x + at, y ? (const float *)y + at : NULL, (float *)dy + at, n,
                           s->c, mean, scale, constant, slope, keep);
    }
}

/* ---- pooling ---- */

/* The part of a window of `kernel` from `at` that lies in 0..length-1. */
static void clip(int64_t at, int64_t kernel, int64_t length, int64_t *first, int64_t *last)
{
    *first = at < 0 ? 0 : at;
    *last = at + kernel > length ? length : at + kernel;
}

CLONES static void max_of(float *restrict y, const float *restrict x, int64_t c)
{
    for (int64_t i = 0; i < c; i++)
        y[i] = x[i] > y[i] || x[i] != x[i] ? x[i] : y[i]; /* a NaN stays */
}

static void max_pool(const struct pool_shape *s, const void *x, void *y, int threads)
{
    const int64_t c = s->c;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++) {
        const float *from = (const float *)x + n * s->h * s->w * c;
        float *to = (float *)y + n * s->oh * s->ow * c;
        for (int64_t a = 0; a < s->oh; a++)
            for (int64_t b = 0; b < s->ow; b++, to += c) {
                int64_t y0, y1, x0, x1;
                clip(a * s->stride - s->padding, s->kernel, s->h, &y0, &y1);
                clip(b * s->stride - s->padding, s->kernel, s->w, &x0, &x1);
                memcpy(to, from + (y0 * s->w + x0) * c, (size_t)c * sizeof *to);
                for (int64_t iy = y0; iy < y1; iy++)
                    for (int64_t ix = x0; ix < x1; ix++)
                        max_of(to, from + (iy * s->w + ix) * c, c);
            }
    }
}

/* Finds each maximum again rather than keeping where it was: the input is kept anyway. */
static void max_pool_backward(const struct pool_shape *s, const void *x, const void *dy, void *dx,
                              int threads)
{
    const int64_t c = s->c;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++) {
        const float *from = (const float *)x + n * s->h * s->w * c;
        const float *d = (const float *)dy + n * s->oh * s->ow * c;
        float *to = (float *)dx + n * s->h * s->w * c;
        memset(to, 0, (size_t)(s->h * s->w * c) * sizeof *to);
        for (int64_t a = 0; a < s->oh; a++)
            for (int64_t b = 0; b < s->ow; b++, d += c) {
                int64_t y0, y1, x0, x1;
                clip(a * s->stride - s->padding, s->kernel, s->h, &y0, &y1);
                clip(b * s->stride - s->padding, s->kernel, s->w, &x0, &x1);
                for (int64_t i = 0; i < c; i++) {
                    int64_t best = (y0 * s->w + x0) * c + i;
                    for (int64_t iy = y0; iy < y1; iy++)
                        for (int64_t ix = x0; ix < x1; ix++) {
                            const int64_t at = (iy * s->w + ix) * c + i;
                            if (from[at] > from[best])
                                best = at;
                        }
                    to[best] += d[i];
                }
            }
    }
}

CLONES static void add_pixels(const float *restrict x, int64_t pixels, int64_t c, float *restrict y)
{
    memset(y, 0, (size_t)c * sizeof *y);
    for (int64_t p = 0; p < pixels; p++, x += c)
        for (int64_t i = 0; i < c; i++)
            y[i] += x[i];
    for (int64_t i = 0; i < c; i++)
        y[i] /= (float)pixels;
}

static void average_pool(const struct norm_shape *s, const void *x, void *y, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++)
        add_pixels((const float *)x + n * s->pixels * s->c, s->pixels, s->c, (float *)y + n * s->c);
}

static void average_pool_backward(const struct norm_shape *s, const void *dy, void *dx, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t n = 0; n < s->images; n++) {
        const float *from = (const float *)dy + n * s->c;
        float *to = (float *)dx + n * s->pixels * s->c;
        for (int64_t p = 0; p < s->pixels; p++, to += s->c)
            for (int64_t i = 0; i < s->c; i++)
                to[i] = from[i] / (float)s->pixels;
    }
}

/* ---- values in and out ---- */

static void load_bytes(const uint8_t *x, int64_t n, int64_t c, const float *mean,
                       const float *deviation, void *y, int threads)
{
    float *to = y;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t p = 0; p < n; p++)
        for (int64_t i = 0; i < c; i++)
            to[p * c + i] = ((float)x[p * c + i] / 255 - mean[i]) / deviation[i];
}

static void copy(const float *from, int64_t n, float *to, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t i = 0; i < n; i += ELEMENTS)
        memcpy(to + i, from + i, (size_t)(n - i < ELEMENTS ? n - i : ELEMENTS) * sizeof *to);
}

static void load_floats(const float *x, int64_t n, void *y, int threads)
{
    copy(x, n, y, threads);
}

static void store_floats(const void *x, int64_t n, float *y, int threads)
{
    copy(x, n, y, threads);
}

const struct engine engine_fp32 = {
    .name = "fp32",
    .element = sizeof(float),
    .conv_packed_bytes = conv_packed_bytes,
    .conv_work_bytes = conv_work_bytes,
    .conv_pack_forward = conv_pack_forward,
    .conv_pack_backward = conv_pack_backward,
    .conv_forward = conv_forward,
    .conv_backward_data = conv_backward_data,
    .conv_backward_weights = conv_backward_weights,
    .conv_unpack_gradient = conv_unpack_gradient,
    .norm_partials = norm_partials,
    .norm_sums = norm_sums,
    .norm_forward = norm_forward,
    .norm_backward_sums = norm_backward_sums,
    .norm_backward = norm_backward,
    .max_pool = max_pool,
    .max_pool_backward = max_pool_backward,
    .average_pool = average_pool,
    .average_pool_backward = average_pool_backward,
    .load_bytes = load_bytes,
    .load_floats = load_floats,
    .store_floats = store_floats,
};
