/* In one dimension, 4 outputs of a kernel of 3 are the middle of a product of polynomials. Toom and
 * Cook compute such a product from its values at 6 points. Transposed, for points p_0..p_4 and
 * infinity:
 *
 *   y = A^T ((G g) . (B^T d))     d: 6 inputs, g: 3 weights, y_i = sum_k d_{i+k} g_k
 *
 *   row j of B^T: the coefficients of prod_{l != j} (x - p_l); the last row: of prod_l (x - p_l)
 *   row j of G:   (1, p_j, p_j^2) / prod_{l != j} (p_j - p_l); the last row: (0, 0, 1)
 *   column j of A^T: (1, p_j, p_j^2, p_j^3); the last column: (0, 0, 0, 1)
 *
 * In two dimensions the same is applied to rows and to columns. The points decide how much rounding
 * errors grow. These are the largest errors relative to the largest value, for normally distributed
 * inputs and weights, with points 0, +-a, +-b, infinity:
 *
 *   a, b                forward 64, 512 channels    weights of 64, 512 tiles
 *   1, 2 (the paper's)          6.1e-6  10.3e-6               6.2e-6  3.7e-6
 *   1, 1/2                      6.2e-6   9.2e-6               5.2e-6  3.6e-6
 *   3/4, 5/4                    1.4e-6   2.4e-6               1.5e-6  1.1e-6
 *   5/8, 3/2                    1.4e-6   2.6e-6               1.1e-6  1.0e-6
 *   1/sqrt 2, sqrt 2            1.4e-6   2.3e-6               1.1e-6  1.0e-6
 *
 * This file uses the last row. These points are each other's reciprocals, so a tile's two ends are
 * treated alike, and their squares, 1/2 and 2, are exact, which makes nearly all constants exact.
 * Points of both signs share their even and odd parts.
 *
 * The gradient of the weights is F(3x3, 4x4): 3 outputs of a kernel of 4, which is a tile of dy.
 * The same points give the same B^T; G has rows of four powers, and A^T has rows up to the second.
 *
 * Each of the 36 positions of a tile is a matrix product of its own: over channels in the forward
 * pass, over tiles for the gradient of the weights. */
#include "engine/winograd_transform.h"

#include <string.h>

#include "base/count.h"
#include "base/half.h"
#include "base/multiversion.h"
#include "engine/transpose.h"

enum {
    TILE = WINOGRAD_TILE,
    SPAN = WINOGRAD_SPAN,
    POSITIONS = WINOGRAD_POSITIONS,
    LANES = WINOGRAD_LANES,
    OUTPUTS = WINOGRAD_OUTPUTS
};

static const float ROOT = 1.41421356F, ROOT_HALF = 0.70710678F;

/* ---- transforms in one dimension, of LANES values at once ---- */

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* LANES neighbouring values of a map, or floats if bf16 is false. */
static ALWAYS_INLINE float value_at(bool bf16, const void *values, int64_t l)
{
    return bf16 ? bf16_widen(((const uint16_t *)values)[l]) : ((const float *)values)[l];
}

/* Multiplies by B^T. in points to 6 groups of LANES values; out receives as many, which are
 * out_step floats apart. */
static ALWAYS_INLINE void input_line(bool bf16, const void *const in[SPAN], float *restrict out,
                                     int64_t out_step)
{
    const void *const i0 = in[0], *const i1 = in[1], *const i2 = in[2];
    const void *const i3 = in[3], *const i4 = in[4], *const i5 = in[5];
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        const float d0 = value_at(bf16, i0, l), d1 = value_at(bf16, i1, l);
        const float d2 = value_at(bf16, i2, l), d3 = value_at(bf16, i3, l);
        const float d4 = value_at(bf16, i4, l), d5 = value_at(bf16, i5, l);
        const float even = d4 - 2 * d2, odd = d3 - 2 * d1;
        const float even2 = d4 - 0.5F * d2, odd2 = d3 - 0.5F * d1;
        out[l] = d0 + (d4 - 2.5F * d2);
        out[out_step + l] = even + ROOT_HALF * odd;
        out[2 * out_step + l] = even - ROOT_HALF * odd;
        out[3 * out_step + l] = even2 + ROOT * odd2;
        out[4 * out_step + l] = even2 - ROOT * odd2;
        out[5 * out_step + l] = d1 + (d5 - 2.5F * d3);
    }
}

/* Multiplies by A^T for 4 outputs. */
static inline void output_line(const float *restrict in, int64_t in_step, float *restrict out,
                               int64_t out_step)
{
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        const float m1 = in[in_step + l], m2 = in[2 * in_step + l];
        const float m3 = in[3 * in_step + l], m4 = in[4 * in_step + l];
        const float even = m1 + m2, odd = ROOT_HALF * (m1 - m2);
        const float even2 = m3 + m4, odd2 = ROOT * (m3 - m4);
        out[l] = in[l] + even + even2;
        out[out_step + l] = odd + odd2;
        out[2 * out_step + l] = 0.5F * even + 2 * even2;
        out[3 * out_step + l] = in[5 * in_step + l] + 0.5F * odd + 2 * odd2;
    }
}

/* Multiplies by G for 3 weights. */
static inline void weight_line(const float *restrict in, int64_t in_step, float *restrict out,
                               int64_t out_step)
{
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        const float g0 = in[l], g1 = in[in_step + l], g2 = in[2 * in_step + l];
        const float even = g0 + 0.5F * g2, odd = ROOT_HALF * g1;
        const float even2 = g0 + 2 * g2, odd2 = ROOT * g1;
        out[l] = g0;
        out[out_step + l] = -2.0F / 3 * (even + odd);
        out[2 * out_step + l] = -2.0F / 3 * (even - odd);
        out[3 * out_step + l] = 1.0F / 6 * (even2 + odd2);
        out[4 * out_step + l] = 1.0F / 6 * (even2 - odd2);
        out[5 * out_step + l] = g2;
    }
}

/* Multiplies by G for 4 weights, which are the gradients of a tile's outputs. */
static ALWAYS_INLINE void gradient_line(bool bf16, const void *const in[TILE], float *restrict out,
                                        int64_t out_step)
{
    const void *const i0 = in[0], *const i1 = in[1], *const i2 = in[2], *const i3 = in[3];
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        const float g0 = value_at(bf16, i0, l), g1 = value_at(bf16, i1, l);
        const float g2 = value_at(bf16, i2, l), g3 = value_at(bf16, i3, l);
        const float even = g0 + 0.5F * g2, odd = ROOT_HALF * (g1 + 0.5F * g3);
        const float even2 = g0 + 2 * g2, odd2 = ROOT * (g1 + 2 * g3);
        out[l] = g0;
        out[out_step + l] = -2.0F / 3 * (even + odd);
        out[2 * out_step + l] = -2.0F / 3 * (even - odd);
        out[3 * out_step + l] = 1.0F / 6 * (even2 + odd2);
        out[4 * out_step + l] = 1.0F / 6 * (even2 - odd2);
        out[5 * out_step + l] = g3;
    }
}

/* Multiplies by A^T for 3 outputs, which are the gradients of the taps. */
static inline void tap_line(const float *restrict in, int64_t in_step, float *restrict out,
                            int64_t out_step)
{
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        const float m1 = in[in_step + l], m2 = in[2 * in_step + l];
        const float m3 = in[3 * in_step + l], m4 = in[4 * in_step + l];
        const float even = m1 + m2, even2 = m3 + m4;
        out[l] = in[l] + even + even2;
        out[out_step + l] = ROOT_HALF * (m1 - m2) + ROOT * (m3 - m4);
        out[2 * out_step + l] = in[5 * in_step + l] + 0.5F * even + 2 * even2;
    }
}

/* ---- where tiles are ---- */

/* The position of a tile in the batch, which is that of its first output. */
struct winograd_place {
    int64_t image, y, x;
};

static struct winograd_place place_of(const struct winograd_shape *s, int64_t tile)
{
    const int64_t across = count_divide_up(s->w, TILE), each = count_divide_up(s->h, TILE) * across;
    return (struct winograd_place){tile / each, tile % each / across * TILE, tile % across * TILE};
}

static void next_place(const struct winograd_shape *s, struct winograd_place *at)
{
    if ((at->x += TILE) < s->w)
        return;
    at->x = 0;
    if ((at->y += TILE) < s->h)
        return;
    at->y = 0;
    at->image++;
}

/* ---- columns that are no multiple of LANES ---- */

/* Copies LANES channels of a row, from `channel` on, to `to` at all positions. Sets the channels
 * that the planes do not have to zeros. */
static void gather_lanes(const struct winograd_planes *p, int64_t row, int64_t channel,
                         float (*to)[LANES])
{
    for (int64_t l = 0; l < LANES; l++)
        for (int64_t q = 0; q < POSITIONS; q++)
            to[q][l] = channel + l < p->channels
                           ? winograd_planes_at(p, row, channel + l)[q * p->position]
                           : 0;
}

/* Copies `from` to LANES channels of a row, from `channel` on, as far as the planes have them. */
static void scatter_lanes(const struct winograd_planes *p, int64_t row, int64_t channel,
                          float (*from)[LANES])
{
    for (int64_t l = 0; l < count_min(LANES, p->channels - channel); l++)
        for (int64_t q = 0; q < POSITIONS; q++)
            winograd_planes_at(p, row, channel + l)[q * p->position] = from[q][l];
}

/* ---- values of maps ---- */

/* Copies `lanes` values of `value` bytes each. The usual number of lanes is a constant, so that the
 * copy is an instruction or two. */
static inline void copy_lanes(int64_t lanes, size_t value, const void *from, void *to)
{
    if (lanes == LANES)
        memcpy(to, from, LANES * value);
    else if (lanes)
        memcpy(to, from, (size_t)lanes * value);
}

/* Copies `lanes` values, sets the rest of LANES to zeros, and returns `to`. */
static inline void *fill_lanes(int64_t lanes, size_t value, const void *from, void *to)
{
    if (lanes < LANES)
        memset(to, 0, LANES * value);
    copy_lanes(lanes, value, from, to);
    return to;
}

/* Loads `lanes` values of a map, from value i on, and sets the rest to zeros. */
static inline void load_lanes(bool bf16, const void *map, int64_t i, int64_t lanes, float *to)
{
    const void *from = (const char *)map + i * (int64_t)winograd_value_bytes(bf16);
    uint16_t rounded[LANES];
    if (!bf16) {
        fill_lanes(lanes, sizeof *to, from, to);
        return;
    }
    fill_lanes(lanes, sizeof *rounded, from, rounded);
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++)
        to[l] = bf16_widen(rounded[l]);
}

/* Stores values, or adds them. On return `value` holds what was stored, before rounding. */
static inline void store_lanes(bool bf16, void *map, int64_t i, int64_t lanes, float *value,
                               bool add)
{
    void *to = (char *)map + i * (int64_t)winograd_value_bytes(bf16);
    if (add) {
        float old[LANES];
        load_lanes(bf16, map, i, lanes, old);
        for (int64_t l = 0; l < LANES; l++)
            value[l] += old[l];
    }
    if (!bf16) {
        copy_lanes(lanes, sizeof *value, value, to);
        return;
    }
    uint16_t rounded[LANES];
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++)
        rounded[l] = bf16_narrow(value[l]);
    copy_lanes(lanes, sizeof *rounded, rounded, to);
}

/* ---- memory that the next tiles need ---- */

/* Prefetches LANES channels, from `channel` on, of the 4 x 4 pixels of a tile, to write them with
 * `write`. Those outside of the map cost nothing but time. */
static ALWAYS_INLINE void prefetch_pixels(const struct winograd_shape *s, const void *map,
                                          int64_t channels, const struct winograd_place *at,
                                          int64_t channel, bool write)
{
    const int64_t value = (int64_t)winograd_value_bytes(s->bf16), row = s->w * channels * value;
    const char *pixel = (const char *)map +
                        ((at->image * s->h + at->y) * s->w + at->x) * channels * value +
                        channel * value;
    if (s->bf16 && channel % (2 * LANES)) /* the line was fetched with the channels before */
        return;
    for (int64_t i = 0; i < TILE; i++)
        for (int64_t j = 0; j < TILE; j++) {
            if (write)
                __builtin_prefetch(pixel + i * row + j * channels * value, 1);
            else
                __builtin_prefetch(pixel + i * row + j * channels * value, 0);
        }
}

/* ---- inputs and outputs ---- */

/* The pixels of a tile, as (side, side): pointers to their first channel. NULL is a pixel outside of
 * the map. */
struct tile_pixels {
    const char *at[SPAN][SPAN];
};

/* Finds the side x side pixels of an image from (y, x) on. */
static inline void find_pixels(const struct winograd_shape *s, const void *map, int64_t channels,
                               int64_t image, int64_t y, int64_t x, int64_t side,
                               struct tile_pixels *p)
{
    const int64_t pixel = channels * (int64_t)winograd_value_bytes(s->bf16);
    for (int64_t i = 0; i < side; i++)
        for (int64_t j = 0; j < side; j++) {
            const bool inside = y + i >= 0 && y + i < s->h && x + j >= 0 && x + j < s->w;
            p->at[i][j] =
                inside ? (const char *)map + ((image * s->h + y + i) * s->w + x + j) * pixel : NULL;
        }
}

/* Points to LANES channels, from `channel` on, of column j of the pixels. Where the map has only
 * `lanes` channels more, or no pixel, it points to a copy with zeros. */
static ALWAYS_INLINE void column_of(const struct tile_pixels *p, bool bf16, int64_t side, int64_t j,
                                    int64_t channel, int64_t lanes, float (*copies)[LANES],
                                    const void **column)
{
    static const float zeros[LANES];
    const size_t value = winograd_value_bytes(bf16), at = (size_t)channel * value;
    for (int64_t i = 0; i < side; i++) {
        column[i] = p->at[i][j] ? p->at[i][j] + at : (const char *)zeros;
        if (lanes < LANES && p->at[i][j])
            column[i] = fill_lanes(lanes, value, column[i], copies[i]);
    }
}

static ALWAYS_INLINE void transform_inputs(bool bf16, const struct winograd_shape *s, const void *x,
                                           int64_t first, int64_t n, int64_t channels,
                                           const struct winograd_planes *v)
{
    const bool whole = v->columns % LANES == 0;
    float copies[SPAN][LANES], lines[SPAN][SPAN][LANES], made[POSITIONS][LANES];
    const void *column[SPAN];
    struct tile_pixels pixels;
    struct winograd_place at = place_of(s, first);
    for (int64_t t = 0; t < n; t++) {
        find_pixels(s, x, s->c, at.image, at.y - 1, at.x - 1, SPAN, &pixels);
        next_place(s, &at);
        for (int64_t k = 0; k < channels; k += LANES) {
            prefetch_pixels(s, x, s->c, &at, k, false);
            for (int64_t j = 0; j < SPAN; j++) {
                column_of(&pixels, bf16, SPAN, j, k, channels - k, copies, column);
                input_line(bf16, column, lines[0][j], SPAN * LANES);
            }
            float *to = whole ? winograd_planes_at(v, t, k) : made[0];
            const int64_t position = whole ? v->position : LANES;
            for (int64_t i = 0; i < SPAN; i++) {
                for (int64_t j = 0; j < SPAN; j++)
                    column[j] = lines[i][j];
                input_line(false, column, to + i * SPAN * position, position);
            }
            if (!whole)
                scatter_lanes(v, t, k, made);
        }
    }
}

MULTIVERSION void winograd_transform_inputs(const struct winograd_shape *s, const void *x,
                                            int64_t first, int64_t n, int64_t channels,
                                            const struct winograd_planes *v)
{
    if (s->bf16)
        transform_inputs(true, s, x, first, n, channels, v);
    else
        transform_inputs(false, s, x, first, n, channels, v);
}

/* Adds the sums of the values of a tile's 16 pixels, and the sums of their squares. */
static inline void add_sums(const float *restrict tile, int64_t lanes, double *restrict sum,
                            double *restrict square)
{
    double a[LANES], b[LANES];
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        double s1 = 0, s2 = 0;
#pragma GCC unroll 16
        for (int64_t i = 0; i < TILE * TILE; i++) {
            const double v = (double)tile[i * LANES + l];
            s1 += v;
            s2 += v * v;
        }
        a[l] = s1;
        b[l] = s2;
    }
    for (int64_t l = 0; l < lanes; l++) {
        sum[l] += a[l];
        square[l] += b[l];
    }
}

MULTIVERSION void winograd_transform_outputs(const struct winograd_shape *s,
                                             const struct winograd_planes *m, int64_t first,
                                             int64_t n, int64_t from, int64_t until, void *y,
                                             double *sums, bool add)
{
    const int64_t o = s->o;
    const bool bf16 = s->bf16;
    const bool whole = m->columns % LANES == 0;
    const int64_t position = whole ? m->position : LANES;
    float lines[TILE][SPAN][LANES], tile[TILE][TILE][LANES], found[POSITIONS][LANES];
    for (int64_t i = 0; sums && i < 2 * o; i += o)
        memset(sums + i + from, 0, (size_t)(until - from) * sizeof *sums);
    struct winograd_place at = place_of(s, first);
    for (int64_t t = 0; t < n; t++, next_place(s, &at)) {
        const int64_t down = count_min(TILE, s->h - at.y), across = count_min(TILE, s->w - at.x);
        const int64_t corner = ((at.image * s->h + at.y) * s->w + at.x) * o;
        struct winograd_place next = at;
        next_place(s, &next);
        for (int64_t k = from; k < until; k += LANES) {
            prefetch_pixels(s, y, o, &next, k, true);
            if (!whole)
                gather_lanes(m, t, k - from, found);
            const float *products = whole ? winograd_planes_at(m, t, k - from) : found[0];
            for (int64_t j = 0; j < SPAN; j++)
                output_line(products + j * position, SPAN * position, lines[0][j], SPAN * LANES);
            for (int64_t i = 0; i < TILE; i++)
                output_line(lines[i][0], LANES, tile[i][0], LANES);
            const int64_t lanes = count_min(LANES, o - k);
            for (int64_t i = 0; i < TILE; i++)
                for (int64_t j = 0; j < TILE; j++) {
                    if (i < down && j < across)
                        store_lanes(bf16, y, corner + (i * s->w + j) * o + k, lanes, tile[i][j],
                                    add);
                    else
                        memset(tile[i][j], 0, sizeof tile[i][j]);
                }
            if (sums)
                add_sums(tile[0][0], lanes, sums + k, sums + o + k);
        }
    }
}

/* ---- the gradient of the weights ---- */

static ALWAYS_INLINE void transform_gradients(bool bf16, const struct winograd_shape *s,
                                              const void *dy, int64_t first, int64_t n,
                                              int64_t channels, const struct winograd_planes *d)
{
    float copies[TILE][LANES], lines[SPAN][TILE][LANES];
    const void *column[TILE];
    struct tile_pixels pixels;
    struct winograd_place at = place_of(s, first);
    for (int64_t t = 0; t < n; t++) {
        find_pixels(s, dy, s->o, at.image, at.y, at.x, TILE, &pixels);
        next_place(s, &at);
        for (int64_t k = 0; k < channels; k += LANES) {
            prefetch_pixels(s, dy, s->o, &at, k, false);
            for (int64_t j = 0; j < TILE; j++) {
                column_of(&pixels, bf16, TILE, j, k, channels - k, copies, column);
                gradient_line(bf16, column, lines[0][j], TILE * LANES);
            }
            float *to = winograd_planes_at(d, t, k);
            for (int64_t i = 0; i < SPAN; i++) {
                for (int64_t j = 0; j < TILE; j++)
                    column[j] = lines[i][j];
                gradient_line(false, column, to + i * SPAN * d->position, d->position);
            }
        }
    }
}

MULTIVERSION void winograd_transform_gradients(const struct winograd_shape *s, const void *dy,
                                               int64_t first, int64_t n, int64_t channels,
                                               const struct winograd_planes *d)
{
    if (s->bf16)
        transform_gradients(true, s, dy, first, n, channels, d);
    else
        transform_gradients(false, s, dy, first, n, channels, d);
}

MULTIVERSION void winograd_transform_products(const struct winograd_planes *m, int64_t rows,
                                              int64_t columns, int64_t c, bool add, float *to)
{
    const bool whole = m->columns % LANES == 0;
    const int64_t position = whole ? m->position : LANES;
    float lines[3][SPAN][LANES], taps[9][LANES], found[POSITIONS][LANES];
    for (int64_t r = 0; r < rows; r++, to += 9 * c)
        for (int64_t k = 0; k < columns; k += LANES) {
            if (!whole)
                gather_lanes(m, r, k, found);
            const float *from = whole ? winograd_planes_at(m, r, k) : found[0];
            for (int64_t j = 0; j < SPAN; j++)
                tap_line(from + j * position, SPAN * position, lines[0][j], SPAN * LANES);
            for (int64_t i = 0; i < 3; i++)
                tap_line(lines[i][0], LANES, taps[3 * i], LANES);
            const int64_t lanes = count_min(LANES, columns - k);
            for (int64_t i = 0; i < 9; i++)
                store_lanes(false, to, i * c + k, lanes, taps[i], add);
        }
}

/* ---- weights ---- */

_Static_assert((int)OUTPUTS == (int)TRANSPOSE_ROWS, "transpose_rows() reads a block's outputs");

/* The weights of one block, as (inputs, taps, outputs): taps are in the order of memory. */
typedef float block_of_weights[LANES][9][OUTPUTS];

/* Copies weights. Those of an output (forward) or of an input (backward) are neighbours in memory,
 * so this is a transposition of one matrix, or of one for each input. */
static void gather_weights(const struct winograd_weights *w, int64_t inputs, int64_t outputs,
                           block_of_weights g)
{
    static const float zeros[LANES * 9];
    const int64_t together = w->backward ? 1 : inputs;
    const char *rows[OUTPUTS];
    for (int64_t i = 0; i < inputs; i += together) {
        for (int64_t j = 0; j < OUTPUTS; j++)
            rows[j] = (const char *)(j < outputs ? w->first + i * w->in + j * w->out : zeros);
        transpose_rows(rows, together * 9, false, (char *)g[i], sizeof g[i][0]);
    }
    if (inputs < LANES)
        memset(g[inputs], 0, (size_t)(LANES - inputs) * sizeof g[0]);
}

MULTIVERSION static void round_weights(float *restrict g, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        g[i] = bf16_widen(bf16_narrow(g[i]));
}

MULTIVERSION static void transform_weights(const block_of_weights g, bool backward, int64_t lanes,
                                           int64_t columns, int64_t position, float *packed)
{
    const int64_t step = (backward ? -3 : 3) * OUTPUTS;
    for (int64_t i = 0; i < LANES; i++, packed += columns)
        for (int64_t j = 0; j < lanes; j += LANES) {
            float rows[SPAN][3][LANES], made[POSITIONS][LANES];
            for (int64_t x = 0; x < 3; x++)
                weight_line(g[i][backward ? 8 - x : x] + j, step, rows[0][x], 3 * LANES);
            if (lanes - j >= LANES) {
                for (int64_t y = 0; y < SPAN; y++)
                    weight_line(rows[y][0], LANES, packed + j + y * SPAN * position, position);
                continue;
            }
            for (int64_t y = 0; y < SPAN; y++)
                weight_line(rows[y][0], LANES, made[y * SPAN], LANES);
            for (int64_t q = 0; q < POSITIONS; q++)
                memcpy(packed + j + q * position, made[q], (size_t)(lanes - j) * sizeof *packed);
        }
}

void winograd_transform_weights(const struct winograd_weights *w, int64_t inputs, int64_t outputs,
                                int64_t lanes, int64_t columns, int64_t position, float *packed)
{
    block_of_weights g;
    gather_weights(w, inputs, outputs, g);
    if (w->bf16)
        round_weights(g[0][0], LANES * 9 * OUTPUTS);
    transform_weights(g, w->backward, lanes, columns, position, packed);
}
