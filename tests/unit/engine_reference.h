/* engine_reference: an engine of plain loops in double (engine/engine.h). It has two purposes.
 *
 * Tests compare the other engines with it. It is also the shortest engine, and therefore the one to
 * start from when you write an engine for a device: every function does what engine.h describes, in
 * the obvious order. An engine for a device would keep struct engine_memory on the device, queue
 * its calls, and wait in the functions that return an int.
 *
 * The value of a map is a double; only the result of an average pool is floats, as in every
 * engine. */
#ifndef ENGINE_REFERENCE_H
#define ENGINE_REFERENCE_H

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/multiversion.h"
#include "engine/engine.h"
#include "engine/grains.h"

/* ---- memory ---- */

struct engine_memory {
    unsigned char *bytes;
};

static void reference_close(struct engine *e)
{
    free(e);
}

static struct engine_memory *reference_allocate(struct engine *e, size_t bytes)
{
    (void)e;
    struct engine_memory *m = malloc(sizeof *m);
    if (m && !(m->bytes = arena_allocate(&(struct arena){bytes}))) {
        free(m);
        return NULL;
    }
    return m;
}

static void reference_release(struct engine *e, struct engine_memory *m)
{
    (void)e;
    if (m)
        free(m->bytes);
    free(m);
}

static void *reference_at(struct engine_place p)
{
    return p.memory ? p.memory->bytes + p.offset : NULL;
}

static void reference_copy_in(struct engine *e, const void *from, size_t bytes,
                              struct engine_place to)
{
    (void)e;
    memcpy(reference_at(to), from, bytes);
}

static int reference_copy_out(struct engine *e, struct engine_place from, size_t bytes, void *to)
{
    (void)e;
    memcpy(to, reference_at(from), bytes);
    return 0;
}

/* ---- values in and out ---- */

static void reference_load_bytes(struct engine *e, const uint8_t *x, int64_t n, int64_t c,
                                 const float *mean, const float *std, struct engine_place y)
{
    (void)e;
    double *to = reference_at(y);
    for (int64_t i = 0; i < n * c; i++)
        to[i] = (double)(((float)x[i] / 255 - mean[i % c]) / std[i % c]);
}

static void reference_load_floats(struct engine *e, const float *x, int64_t n,
                                  struct engine_place y)
{
    (void)e;
    double *to = reference_at(y);
    for (int64_t i = 0; i < n; i++)
        to[i] = (double)x[i];
}

static int reference_store_floats(struct engine *e, struct engine_place x, int64_t n, float *y)
{
    (void)e;
    const double *from = reference_at(x);
    for (int64_t i = 0; i < n; i++)
        y[i] = (float)from[i];
    return 0;
}

/* ---- convolutions ----
 * Packed weights are doubles (conv_rows, kernel, c, o), or for the gradient of the input
 * (conv_rows, kernel, o, c): the innermost loop runs over neighbours. */

static size_t reference_conv_packed_bytes(struct engine *e, const struct conv_shape *s)
{
    (void)e;
    return (size_t)(conv_rows(s) * s->kernel * s->c * s->o) * sizeof(double);
}

/* Returns 0: this engine needs no scratch memory. */
static size_t reference_conv_work_bytes(struct engine *e, const struct conv_shape *s)
{
    (void)e;
    (void)s;
    return 0;
}

/* Returns the bytes of each grain's gradient: doubles (conv_rows, kernel, c, o), and floats in the
 * shape of the weights. */
static size_t reference_conv_partial_bytes(struct engine *e, const struct conv_shape *s)
{
    const size_t one = reference_conv_packed_bytes(e, s);
    return one + (size_t)s->grains * one / sizeof(double) * sizeof(float);
}

static int64_t reference_conv_sum_rows(struct engine *e, const struct conv_shape *s)
{
    (void)e;
    return s->grains;
}

/* Returns the index of the weight of output channel o, input channel c and position (i, j) of the
 * window. */
static int64_t reference_weight_index(const struct conv_shape *s, int64_t o, int64_t c, int64_t i,
                                      int64_t j)
{
    return ((o * s->c + c) * conv_rows(s) + i) * s->kernel + j;
}

static void reference_weights_changed(struct engine *e)
{
    (void)e;
}

static void reference_conv_pack_forward(struct engine *e, const struct conv_shape *s,
                                        const float *weight, bool once, struct engine_place packed)
{
    (void)e;
    (void)once;
    double *to = reference_at(packed);
    for (int64_t i = 0; i < conv_rows(s); i++)
        for (int64_t j = 0; j < s->kernel; j++)
            for (int64_t c = 0; c < s->c; c++)
                for (int64_t o = 0; o < s->o; o++)
                    *to++ = (double)weight[reference_weight_index(s, o, c, i, j)];
}

static void reference_conv_pack_backward(struct engine *e, const struct conv_shape *s,
                                         const float *weight, struct engine_place packed)
{
    (void)e;
    double *to = reference_at(packed);
    for (int64_t i = 0; i < conv_rows(s); i++)
        for (int64_t j = 0; j < s->kernel; j++)
            for (int64_t o = 0; o < s->o; o++)
                for (int64_t c = 0; c < s->c; c++)
                    *to++ = (double)weight[reference_weight_index(s, o, c, i, j)];
}

/* Returns the index of the pixel of x that position (i, j) of the window of output (a, b) of an
 * image reads, or -1 if it is padding. */
static int64_t reference_pixel(const struct conv_shape *s, int64_t image, int64_t a, int64_t b,
                               int64_t i, int64_t j)
{
    const int64_t y = a * (s->row ? 1 : s->stride) + i - conv_row_padding(s);
    const int64_t x = b * s->stride + j - s->padding;
    return y < 0 || y >= s->h || x < 0 || x >= s->w ? -1 : (image * s->h + y) * s->w + x;
}

/* Computes y (columns) += x (rows) * matrix (rows, columns). */
MULTIVERSION static void reference_multiply(const double *x, int64_t rows, const double *matrix,
                                            int64_t columns, double *y)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++)
            y[j] += x[r] * matrix[r * columns + j];
}

/* Computes matrix (rows, columns) += x (rows) times y (columns). */
MULTIVERSION static void reference_add_product(const double *x, int64_t rows, const double *y,
                                               int64_t columns, double *matrix)
{
    for (int64_t r = 0; r < rows; r++)
        for (int64_t j = 0; j < columns; j++)
            matrix[r * columns + j] += x[r] * y[j];
}

static int reference_conv_forward(struct engine *e, const struct conv_shape *s,
                                  struct engine_place x, struct engine_place packed,
                                  struct engine_place y, double *sums,
                                  const struct engine_scratch *work)
{
    (void)e;
    (void)work;
    const double *from = reference_at(x), *weights = reference_at(packed);
    double *to = reference_at(y);
    const int64_t pixels = s->images * s->oh * s->ow;
    memset(to, 0, (size_t)(pixels * s->o) * sizeof *to);
    for (int64_t p = 0; p < pixels; p++)
        for (int64_t i = 0; i < conv_rows(s); i++)
            for (int64_t j = 0; j < s->kernel; j++) {
                const int64_t at =
                    reference_pixel(s, p / (s->oh * s->ow), p / s->ow % s->oh, p % s->ow, i, j);
                if (at >= 0)
                    reference_multiply(from + at * s->c, s->c,
                                       weights + (i * s->kernel + j) * s->c * s->o, s->o,
                                       to + p * s->o);
            }
    if (!sums)
        return 0;
    memset(sums, 0, (size_t)(s->grains * 2 * s->o) * sizeof *sums);
    for (int64_t p = 0; p < pixels; p++) {
        double *row = sums + p / (pixels / s->grains) * 2 * s->o;
        for (int64_t o = 0; o < s->o; o++) {
            row[o] += to[p * s->o + o];
            row[s->o + o] += to[p * s->o + o] * to[p * s->o + o];
        }
    }
    return 0;
}

static void reference_conv_backward_data(struct engine *e, const struct conv_shape *s,
                                         struct engine_place dy, struct engine_place packed,
                                         struct engine_place dx, bool add,
                                         const struct engine_scratch *work)
{
    (void)e;
    (void)work;
    const double *from = reference_at(dy), *weights = reference_at(packed);
    double *to = reference_at(dx);
    if (!add)
        memset(to, 0, (size_t)(s->images * s->h * s->w * s->c) * sizeof *to);
    for (int64_t p = 0; p < s->images * s->oh * s->ow; p++)
        for (int64_t i = 0; i < conv_rows(s); i++)
            for (int64_t j = 0; j < s->kernel; j++) {
                const int64_t at =
                    reference_pixel(s, p / (s->oh * s->ow), p / s->ow % s->oh, p % s->ow, i, j);
                if (at >= 0)
                    reference_multiply(from + p * s->o, s->o,
                                       weights + (i * s->kernel + j) * s->o * s->c, s->c,
                                       to + at * s->c);
            }
}

/* Computes one grain's gradient, as doubles (conv_rows, kernel, c, o). */
static void reference_grain_gradient(const struct conv_shape *s, int64_t grain, const double *x,
                                     const double *dy, double *sum)
{
    const int64_t pixels = s->images / s->grains * s->oh * s->ow;
    memset(sum, 0, (size_t)(conv_rows(s) * s->kernel * s->c * s->o) * sizeof *sum);
    for (int64_t p = grain * pixels; p < (grain + 1) * pixels; p++)
        for (int64_t i = 0; i < conv_rows(s); i++)
            for (int64_t j = 0; j < s->kernel; j++) {
                const int64_t at =
                    reference_pixel(s, p / (s->oh * s->ow), p / s->ow % s->oh, p % s->ow, i, j);
                if (at >= 0)
                    reference_add_product(x + at * s->c, s->c, dy + p * s->o, s->o,
                                          sum + (i * s->kernel + j) * s->c * s->o);
            }
}

static int reference_conv_backward_weights(struct engine *e, const struct conv_shape *s,
                                           struct engine_place x, struct engine_place dy,
                                           struct engine_place partials, float *grad,
                                           const struct engine_scratch *work)
{
    (void)work;
    const int64_t rows = conv_rows(s), n = rows * s->kernel * s->c * s->o;
    double *sum = reference_at(partials);
    float *parts = (float *)(sum + n);
    for (int64_t g = 0; g < s->grains; g++) {
        reference_grain_gradient(s, g, reference_at(x), reference_at(dy), sum);
        const double *from = sum;
        for (int64_t i = 0; i < rows; i++)
            for (int64_t j = 0; j < s->kernel; j++)
                for (int64_t c = 0; c < s->c; c++)
                    for (int64_t o = 0; o < s->o; o++)
                        parts[g * n + reference_weight_index(s, o, c, i, j)] = (float)*from++;
    }
    grains_sum_floats(parts, s->grains, n, e->threads);
    memcpy(grad, parts, (size_t)n * sizeof *grad);
    return 0;
}

/* ---- norms ---- */

static double reference_normalized(const struct norm_channels *k, int64_t c, double x)
{
    return (x - (double)k->mean[c]) * (double)k->scale[c] + (double)k->bias[c];
}

static void reference_norm_forward(struct engine *e, const struct norm_shape *s,
                                   struct engine_place x, const struct norm_channels *k,
                                   struct engine_place residual, bool relu, struct engine_place y)
{
    (void)e;
    const double *from = reference_at(x), *side = reference_at(residual);
    double *to = reference_at(y);
    for (int64_t i = 0; i < s->images * s->pixels * s->c; i++) {
        const double v = reference_normalized(k, i % s->c, from[i]) + (side ? side[i] : 0);
        to[i] = relu && v < 0 ? 0 : v;
    }
}

static int64_t reference_norm_sum_rows(struct engine *e, const struct norm_shape *s)
{
    (void)e;
    return s->grains;
}

static int reference_norm_backward_sums(struct engine *e, const struct norm_shape *s,
                                        struct engine_place x, struct engine_place y,
                                        struct engine_place dy, const struct norm_channels *k,
                                        bool relu, double *sums)
{
    (void)e;
    const double *in = reference_at(x), *out = reference_at(y);
    double *d = reference_at(dy);
    const int64_t n = s->images * s->pixels * s->c;
    memset(sums, 0, (size_t)(s->grains * 2 * s->c) * sizeof *sums);
    for (int64_t i = 0; i < n; i++) {
        const int64_t c = i % s->c;
        double *row = sums + i / (n / s->grains) * 2 * s->c;
        if (out && !(out[i] > 0))
            d[i] = 0;
        const bool open = !relu || reference_normalized(k, c, in[i]) > 0;
        row[c] += open ? d[i] : 0;
        row[s->c + c] += open ? d[i] * (in[i] - (double)k->mean[c]) : 0;
    }
    return 0;
}

static void reference_norm_backward(struct engine *e, const struct norm_shape *s,
                                    struct engine_place x, struct engine_place dy,
                                    const struct norm_channels *k, bool relu, const float *constant,
                                    const float *slope)
{
    (void)e;
    const double *d = reference_at(dy);
    double *to = reference_at(x);
    for (int64_t i = 0; i < s->images * s->pixels * s->c; i++) {
        const int64_t c = i % s->c;
        const bool open = !relu || reference_normalized(k, c, to[i]) > 0;
        to[i] = (open ? d[i] * (double)k->scale[c] : 0) - (double)constant[c] -
                (to[i] - (double)k->mean[c]) * (double)slope[c];
    }
}

/* ---- pools ---- */

/* Returns the index of the pixel of x that has the maximum of channel c in the window of output (a,
 * b), or -1 if the whole window is padding. */
static int64_t reference_maximum(const struct pool_shape *s, const double *x, int64_t image,
                                 int64_t a, int64_t b, int64_t c)
{
    int64_t best = -1;
    for (int64_t i = 0; i < s->kernel; i++)
        for (int64_t j = 0; j < s->kernel; j++) {
            const int64_t row = a * s->stride + i - s->padding;
            const int64_t column = b * s->stride + j - s->padding;
            if (row < 0 || row >= s->h || column < 0 || column >= s->w)
                continue;
            const int64_t at = (image * s->h + row) * s->w + column;
            const double v = x[at * s->c + c], most = best < 0 ? 0 : x[best * s->c + c];
            const bool larger =
                isnan(v) ? !isnan(most) : v > most || (v == most && signbit(most) && !signbit(v));
            if (best < 0 || larger)
                best = at;
        }
    return best;
}

static void reference_max_pool(struct engine *e, const struct pool_shape *s, struct engine_place x,
                               struct engine_place y)
{
    (void)e;
    const double *from = reference_at(x);
    double *to = reference_at(y);
    for (int64_t p = 0; p < s->images * s->oh * s->ow; p++)
        for (int64_t c = 0; c < s->c; c++) {
            const int64_t at =
                reference_maximum(s, from, p / (s->oh * s->ow), p / s->ow % s->oh, p % s->ow, c);
            to[p * s->c + c] = from[at * s->c + c];
        }
}

static void reference_max_pool_backward(struct engine *e, const struct pool_shape *s,
                                        struct engine_place x, struct engine_place dy,
                                        struct engine_place dx)
{
    (void)e;
    const double *from = reference_at(x), *d = reference_at(dy);
    double *to = reference_at(dx);
    memset(to, 0, (size_t)(s->images * s->h * s->w * s->c) * sizeof *to);
    for (int64_t p = 0; p < s->images * s->oh * s->ow; p++)
        for (int64_t c = 0; c < s->c; c++) {
            const int64_t at =
                reference_maximum(s, from, p / (s->oh * s->ow), p / s->ow % s->oh, p % s->ow, c);
            to[at * s->c + c] += d[p * s->c + c];
        }
}

static void reference_average_pool(struct engine *e, const struct norm_shape *s,
                                   struct engine_place x, struct engine_place y)
{
    (void)e;
    const double *from = reference_at(x);
    float *to = reference_at(y);
    for (int64_t n = 0; n < s->images; n++)
        for (int64_t c = 0; c < s->c; c++) {
            double sum = 0;
            for (int64_t p = 0; p < s->pixels; p++)
                sum += from[(n * s->pixels + p) * s->c + c];
            to[n * s->c + c] = (float)(sum / (double)s->pixels);
        }
}

static void reference_average_pool_backward(struct engine *e, const struct norm_shape *s,
                                            struct engine_place dy, struct engine_place dx)
{
    (void)e;
    const float *from = reference_at(dy);
    double *to = reference_at(dx);
    for (int64_t i = 0; i < s->images * s->pixels * s->c; i++)
        to[i] = (double)from[i / (s->pixels * s->c) * s->c + i % s->c] / (double)s->pixels;
}

static void reference_mean_pool(struct engine *e, const struct pool_shape *s, struct engine_place x,
                                struct engine_place y)
{
    (void)e;
    const double *from = reference_at(x);
    double *to = reference_at(y);
    for (int64_t i = 0; i < s->images * s->oh * s->ow * s->c; i++) {
        const int64_t c = i % s->c, p = i / s->c, image = p / (s->oh * s->ow);
        to[i] = 0;
        for (int64_t t = 0; t < 4; t++) {
            const int64_t row = p / s->ow % s->oh * s->stride + t / 2;
            const int64_t column = p % s->ow * s->stride + t % 2;
            if (row < s->h && column < s->w)
                to[i] += from[((image * s->h + row) * s->w + column) * s->c + c] / 4;
        }
    }
}

static void reference_mean_pool_backward(struct engine *e, const struct pool_shape *s,
                                         struct engine_place dy, struct engine_place dx)
{
    (void)e;
    const double *from = reference_at(dy);
    double *to = reference_at(dx);
    memset(to, 0, (size_t)(s->images * s->h * s->w * s->c) * sizeof *to);
    for (int64_t i = 0; i < s->images * s->oh * s->ow * s->c; i++) {
        const int64_t c = i % s->c, p = i / s->c, image = p / (s->oh * s->ow);
        for (int64_t t = 0; t < 4; t++) {
            const int64_t row = p / s->ow % s->oh * s->stride + t / 2;
            const int64_t column = p % s->ow * s->stride + t % 2;
            if (row < s->h && column < s->w)
                to[((image * s->h + row) * s->w + column) * s->c + c] += from[i] / 4;
        }
    }
}

/* ---- selective kernels ---- */

static void reference_halves_mean(struct engine *e, const struct norm_shape *s,
                                  struct engine_place x, struct engine_place y)
{
    (void)e;
    const double *from = reference_at(x);
    double *to = reference_at(y);
    memset(to, 0, (size_t)(s->images * s->c) * sizeof *to);
    for (int64_t p = 0; p < s->images * s->pixels; p++)
        for (int64_t c = 0; c < s->c; c++)
            to[p / s->pixels * s->c + c] +=
                (from[p * 2 * s->c + c] + from[p * 2 * s->c + s->c + c]) / (double)s->pixels;
}

static void reference_halves_mean_backward(struct engine *e, const struct norm_shape *s,
                                           struct engine_place dy, struct engine_place dx)
{
    (void)e;
    const double *from = reference_at(dy);
    double *to = reference_at(dx);
    for (int64_t p = 0; p < s->images * s->pixels; p++)
        for (int64_t c = 0; c < 2 * s->c; c++)
            to[p * 2 * s->c + c] += from[p / s->pixels * s->c + c % s->c] / (double)s->pixels;
}

/* Returns the weight u of half a, for channel c of an image with these logits (2c); v is 1 - u. */
static double reference_weight_of(const double *logits, int64_t half, int64_t c)
{
    return 1 / (1 + exp(logits[half + c] - logits[c]));
}

static void reference_halves_mix(struct engine *e, const struct norm_shape *s,
                                 struct engine_place x, struct engine_place logits,
                                 struct engine_place y)
{
    (void)e;
    const double *from = reference_at(x), *all = reference_at(logits);
    double *to = reference_at(y);
    for (int64_t p = 0; p < s->images * s->pixels; p++)
        for (int64_t c = 0; c < s->c; c++) {
            const double *pixel = from + p * 2 * s->c;
            const double u = reference_weight_of(all + p / s->pixels * 2 * s->c, s->c, c);
            to[p * s->c + c] = u * pixel[c] + (1 - u) * pixel[s->c + c];
        }
}

static void reference_halves_mix_backward(struct engine *e, const struct norm_shape *s,
                                          struct engine_place x, struct engine_place logits,
                                          struct engine_place dy, struct engine_place dx,
                                          struct engine_place dlogits)
{
    (void)e;
    const double *from = reference_at(x), *all = reference_at(logits), *d = reference_at(dy);
    double *to = reference_at(dx), *slopes = reference_at(dlogits);
    memset(slopes, 0, (size_t)(s->images * 2 * s->c) * sizeof *slopes);
    for (int64_t p = 0; p < s->images * s->pixels; p++)
        for (int64_t c = 0; c < s->c; c++) {
            const int64_t image = p / s->pixels * 2 * s->c, a = p * 2 * s->c + c, b = a + s->c;
            const double u = reference_weight_of(all + image, s->c, c), g = d[p * s->c + c];
            const double slope = u * (1 - u) * (from[a] - from[b]) * g;
            to[a] = u * g;
            to[b] = (1 - u) * g;
            slopes[image + c] += slope;
            slopes[image + s->c + c] -= slope;
        }
}

/* ---- the table ---- */

/* Returns an engine, which the caller frees with engine_free(), or NULL (no message) if memory is
 * out. */
static struct engine *engine_reference_new(int threads)
{
    struct engine *e = malloc(sizeof *e);
    if (e)
        *e = (struct engine){
            .name = "reference",
            .element = sizeof(double),
            .threads = threads,
            .close = reference_close,
            .allocate = reference_allocate,
            .release = reference_release,
            .copy_in = reference_copy_in,
            .copy_out = reference_copy_out,
            .load_bytes = reference_load_bytes,
            .load_floats = reference_load_floats,
            .store_floats = reference_store_floats,
            .conv_packed_bytes = reference_conv_packed_bytes,
            .conv_work_bytes = reference_conv_work_bytes,
            .conv_partial_bytes = reference_conv_partial_bytes,
            .conv_sum_rows = reference_conv_sum_rows,
            .weights_changed = reference_weights_changed,
            .conv_pack_forward = reference_conv_pack_forward,
            .conv_pack_backward = reference_conv_pack_backward,
            .conv_forward = reference_conv_forward,
            .conv_backward_data = reference_conv_backward_data,
            .conv_backward_weights = reference_conv_backward_weights,
            .norm_forward = reference_norm_forward,
            .norm_sum_rows = reference_norm_sum_rows,
            .norm_backward_sums = reference_norm_backward_sums,
            .norm_backward = reference_norm_backward,
            .max_pool = reference_max_pool,
            .max_pool_backward = reference_max_pool_backward,
            .average_pool = reference_average_pool,
            .average_pool_backward = reference_average_pool_backward,
            .mean_pool = reference_mean_pool,
            .mean_pool_backward = reference_mean_pool_backward,
            .halves_mean = reference_halves_mean,
            .halves_mean_backward = reference_halves_mean_backward,
            .halves_mix = reference_halves_mix,
            .halves_mix_backward = reference_halves_mix_backward,
        };
    return e;
}

#endif
