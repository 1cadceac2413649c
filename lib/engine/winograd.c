/* In one dimension, 4 outputs of a kernel of 3 are the middle of a product of polynomials, which
 * Toom and Cook compute from its values at 6 points. Transposed, for points p_0..p_4 and infinity:
 *
 *   y = A^T ((G g) . (B^T d))     d: 6 inputs, g: 3 weights, y_i = sum_k d_{i+k} g_k
 *
 *   row j of B^T: the coefficients of prod_{l != j} (x - p_l); the last row: of prod_l (x - p_l)
 *   row j of G:   (1, p_j, p_j^2) / prod_{l != j} (p_j - p_l); the last row: (0, 0, 1)
 *   column j of A^T: (1, p_j, p_j^2, p_j^3); the last column: (0, 0, 0, 1)
 *
 * and in two dimensions the same is applied to rows and to columns. The points decide how much
 * rounding grows. Largest errors relative to the largest value, for normal inputs and weights,
 * with points 0, +-a, +-b, infinity:
 *
 *   a, b                forward 64, 512 channels    weights of 64, 512 tiles
 *   1, 2 (the paper's)          6.1e-6  10.3e-6               6.2e-6  3.7e-6
 *   1, 1/2                      6.2e-6   9.2e-6               5.2e-6  3.6e-6
 *   3/4, 5/4                    1.4e-6   2.4e-6               1.5e-6  1.1e-6
 *   5/8, 3/2                    1.4e-6   2.6e-6               1.1e-6  1.0e-6
 *   1/sqrt 2, sqrt 2            1.4e-6   2.3e-6               1.1e-6  1.0e-6
 *
 * The last ones are their own reciprocals, so a tile's two ends are treated alike, and their
 * squares, 1/2 and 2, are exact: nearly all constants are. Points of both signs share their even
 * and odd parts.
 *
 * The gradient of the weights is F(3x3, 4x4): 3 outputs of a kernel of 4, which is a tile of dy.
 * The same points give the same B^T; G has rows of four powers and A^T rows up to the second.
 *
 * Each of the 36 positions of a tile is a matrix product of its own: over channels forward, over
 * tiles for the gradient of the weights. */
#include "engine/winograd.h"

#include <string.h>

#include "base/count.h"
#include "base/half.h"
#include "base/multiversion.h"

enum {
    TILE = 4,       /* outputs of a tile, a side */
    SPAN = 6,       /* its inputs */
    POSITIONS = 36, /* SPAN^2 */
    LANES = 16,     /* channels that are transformed together, and the depth of a float product */
    GROUP = 64,     /* channels whose inputs stay in the cache while gradients stream past them */
    LINE = 16       /* floats of a cache line */
};

static const float ROOT = 1.41421356F, ROOT_HALF = 0.70710678F;

/* ---- transforms in one dimension, of LANES values at once ---- */

/* B^T. in and out: LANES neighbours each, and so many floats between the 6 of them. */
static inline void input_line(const float *restrict in, int64_t in_step, float *restrict out,
                              int64_t out_step)
{
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        const float d0 = in[l], d1 = in[in_step + l], d2 = in[2 * in_step + l];
        const float d3 = in[3 * in_step + l], d4 = in[4 * in_step + l], d5 = in[5 * in_step + l];
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

/* A^T for 4 outputs. */
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

/* G for 3 weights. */
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

/* G for 4 weights: the gradients of a tile's outputs. */
static inline void gradient_line(const float *restrict in, int64_t in_step, float *restrict out,
                                 int64_t out_step)
{
#pragma omp simd
    for (int64_t l = 0; l < LANES; l++) {
        const float g0 = in[l], g1 = in[in_step + l], g2 = in[2 * in_step + l];
        const float g3 = in[3 * in_step + l];
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

/* A^T for 3 outputs: the gradients of the taps. */
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

/* Tiles are numbered through the batch, row by row of each image. */
struct place {
    int64_t image, y, x; /* of the first output */
};

static struct place place_of(const struct winograd_shape *s, int64_t tile)
{
    const int64_t across = count_divide_up(s->w, TILE), each = count_divide_up(s->h, TILE) * across;
    return (struct place){tile / each, tile % each / across * TILE, tile % across * TILE};
}

static void next_place(const struct winograd_shape *s, struct place *at)
{
    if ((at->x += TILE) < s->w)
        return;
    at->x = 0;
    if ((at->y += TILE) < s->h)
        return;
    at->y = 0;
    at->image++;
}

static int64_t tiles_per_grain(const struct winograd_shape *s)
{
    return s->images / s->grains * count_divide_up(s->h, TILE) * count_divide_up(s->w, TILE);
}

/* The forward pass cuts the batch into parts, each of one grain, which depend on the shape alone,
 * and does a strip at a time: one part, or those of some whole small grains. The more channels, the
 * more tiles: narrow layers then stay in the second-level cache, and wide ones, whose weights do
 * not, stream these seldom enough. */
struct cut {
    int64_t part, parts;   /* tiles of a part (a grain's last one may have less); of a grain */
    int64_t count;         /* parts of the batch */
    int64_t strip, strips; /* parts of a strip; strips of the batch */
};

static struct cut cut(const struct winograd_shape *s, int threads)
{
    const int64_t all = tiles_per_grain(s), most = 32 + (s->c + s->o) / 16;
    struct cut k;
    k.part = count_min(all, count_round_up(count_divide_up(all, count_divide_up(all, most)), 8));
    k.parts = count_divide_up(all, k.part);
    k.count = k.parts * s->grains;
    const int64_t strips = count_divide_up(k.count, k.parts > 1 ? 1 : most / all);
    k.strip = count_divide_up(k.count, count_round_up(strips, threads));
    k.strips = count_divide_up(k.count, k.strip);
    return k;
}

/* The first tile of a part; that of part `count` lies behind the last one. */
static int64_t part_tile(const struct winograd_shape *s, const struct cut *k, int64_t part)
{
    return part / k->parts * tiles_per_grain(s) + part % k->parts * k->part;
}

/* Tiles of a strip for the gradient of the weights, which is of one grain: whole steps of products,
 * which are over tiles there. More would not stay in the cache. */
static int64_t gradient_tiles(const struct winograd_shape *s)
{
    const int64_t all = tiles_per_grain(s), most = 64;
    return count_round_up(count_divide_up(all, count_divide_up(all, most)), LANES);
}

/* ---- memory ---- */

/* Between the same place in two positions: a line more than the data, or 36 streams of stores
 * would fall into the same few sets of a cache. */
static int64_t position_floats(int64_t data)
{
    return data + LINE;
}

static int64_t packed_position(const struct gemm_kernel *p, int64_t c, int64_t o)
{
    return position_floats(count_round_up(c, LANES) * count_round_up(o, p->columns));
}

/* Transformed tiles, [36][channels / columns][rows][columns]: a row is a tile. */
struct planes {
    float *first;
    int64_t rows, columns, position;
};

static struct planes planes(float *first, int64_t rows, int64_t channels, int64_t columns)
{
    return (struct planes){first, rows, columns,
                           position_floats(rows * count_round_up(channels, columns))};
}

static inline float *planes_at(const struct planes *p, int64_t row, int64_t channel)
{
    return p->first + (channel / p->columns * p->rows + row) * p->columns + channel % p->columns;
}

static float *planes_end(const struct planes *p)
{
    return p->first + POSITIONS * p->position;
}

/* A thread's memory in the forward pass. */
struct forward_memory {
    struct planes v, m; /* inputs; products */
    struct gemm_step *steps;
};

static size_t steps_bytes(int64_t n)
{
    return (size_t)count_round_up(n * (int64_t)sizeof(struct gemm_step), LINE * sizeof(float));
}

static size_t forward_memory(const struct gemm_kernel *p, const struct winograd_shape *s,
                             void *memory, struct forward_memory *f)
{
    const struct cut k = cut(s, 1);
    const int64_t rows = count_round_up(k.strip * k.part, p->rows);
    f->v = planes(memory, rows, s->c, LANES);
    f->m = planes(planes_end(&f->v), rows, s->o, p->columns);
    f->steps = (struct gemm_step *)planes_end(&f->m);
    return (size_t)(POSITIONS * (f->v.position + f->m.position)) * sizeof(float) +
           steps_bytes(count_divide_up(s->c, LANES));
}

/* A thread's memory for the gradient of the weights. */
struct gradient_memory {
    struct planes v; /* inputs */
    struct planes d; /* gradients of outputs, transposed: a row is a channel, a column a tile */
    struct planes m; /* products of one block */
    struct gemm_step *steps;
};

static size_t gradient_memory(const struct gemm_kernel *p, const struct winograd_shape *s,
                              void *memory, struct gradient_memory *g)
{
    const int64_t tiles = gradient_tiles(s);
    g->v = planes(memory, tiles, s->c, p->columns);
    g->d = planes(planes_end(&g->v), count_round_up(s->o, LANES), tiles, tiles);
    g->m = planes(planes_end(&g->d), p->rows, p->columns, p->columns);
    g->steps = (struct gemm_step *)planes_end(&g->m);
    return (size_t)(POSITIONS * (g->v.position + g->d.position + g->m.position)) * sizeof(float) +
           steps_bytes(tiles / LANES);
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

/* Half of the outputs of its tiles must be there, or there is little to gain: maps of 3 or 6 a side
 * gain a quarter, those of 2 or 5 lose. With less than LANES channels, lanes are empty. */
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
    struct forward_memory f;
    struct gradient_memory g;
    return larger(larger(forward_memory(p, s, NULL, &f), forward_memory(p, &back, NULL, &f)),
                  gradient_memory(p, s, NULL, &g));
}

/* ---- weights ---- */

/* Weights in either direction; backward, `first` is the last tap. */
struct weights {
    const float *first;
    int64_t in, out, tap; /* floats from one input, output or tap to the next */
    bool bf16;            /* are rounded to it */
};

/* Transforms the first weights, up to 16 x 16 inputs and outputs, to [16][columns] of each position
 * of packed; those that are missing count as 0. */
MULTIVERSION static void pack_weights(const struct weights *w, int64_t inputs, int64_t outputs,
                                      int64_t columns, int64_t position, float *packed)
{
    float g[9][LANES][LANES] = {{{0}}};
    for (int64_t j = 0; j < outputs; j++)
        for (int64_t i = 0; i < inputs; i++)
            for (int64_t k = 0; k < 9; k++)
                g[k][i][j] = w->first[i * w->in + j * w->out + k * w->tap];
    for (int64_t k = 0; w->bf16 && k < 9; k++)
        for (int64_t i = 0; i < inputs; i++)
            for (int64_t j = 0; j < LANES; j++)
                g[k][i][j] = bf16_widen(bf16_narrow(g[k][i][j]));
    for (int64_t i = 0; i < LANES; i++, packed += columns) {
        float rows[SPAN][3][LANES];
        for (int64_t x = 0; x < 3; x++)
            weight_line(g[x][i], 3 * LANES * LANES, rows[0][x], 3 * LANES);
        for (int64_t y = 0; y < SPAN; y++)
            weight_line(rows[y][0], LANES, packed + y * SPAN * position, position);
    }
}

/* packed: [36][o / columns][c / 16][16][columns] */
static void pack(const struct gemm_kernel *p, int64_t c, int64_t o, const struct weights *all,
                 float *packed, int threads)
{
    const int64_t position = packed_position(p, c, o), rows = count_divide_up(c, LANES);
    const int64_t blocks = count_divide_up(o, p->columns) * rows, block = LANES * p->columns;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++)
        for (int64_t j = 0; j < p->columns; j += LANES) {
            const int64_t to = b / rows * p->columns + j, from = b % rows * LANES;
            struct weights w = *all;
            w.first += from * w.in + to * w.out;
            pack_weights(&w, count_min(c - from, LANES), count_min(o - to, LANES), p->columns,
                         position, packed + b * block + j);
        }
}

void winograd_pack_forward(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const float *weight, float *packed, int threads)
{
    const struct weights w = {.first = weight, .in = 9, .out = s->c * 9, .tap = 1, .bf16 = s->bf16};
    pack(p, s->c, s->o, &w, packed, threads);
}

void winograd_pack_backward(const struct gemm_kernel *p, const struct winograd_shape *s,
                            const float *weight, float *packed, int threads)
{
    const struct weights w = {
        .first = weight + 8, .in = s->c * 9, .out = 9, .tap = -1, .bf16 = s->bf16};
    pack(p, s->o, s->c, &w, packed, threads);
}

/* ---- values of maps ---- */

static inline int64_t value_bytes(bool bf16)
{
    return bf16 ? sizeof(uint16_t) : sizeof(float);
}

/* Values of so many bytes. The usual sizes are known ones, and so an instruction or two. */
static inline void copy_lanes(int64_t lanes, size_t value, const void *from, void *to)
{
    if (lanes == LANES)
        memcpy(to, from, LANES * value);
    else if (lanes)
        memcpy(to, from, (size_t)lanes * value);
}

/* The same, and zeros behind them. */
static inline void fill_lanes(int64_t lanes, size_t value, const void *from, void *to)
{
    if (lanes < LANES)
        memset(to, 0, LANES * value);
    copy_lanes(lanes, value, from, to);
}

/* Values i to i + lanes of a map, then zeros. */
static inline void load_lanes(bool bf16, const void *map, int64_t i, int64_t lanes, float *to)
{
    const void *from = (const char *)map + i * value_bytes(bf16);
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

/* Stores or adds values; `value` becomes what is stored, before that is rounded. */
static inline void store_lanes(bool bf16, void *map, int64_t i, int64_t lanes, float *value,
                               bool add)
{
    void *to = (char *)map + i * value_bytes(bf16);
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

/* ---- forward ---- */

/* Transforms the first `channels` channels of x, of n tiles from tile `first` on, to v's first
 * rows. Channels up to a multiple of 16 are written, as zeros. */
MULTIVERSION static void transform_inputs(const struct winograd_shape *s, const void *x,
                                          int64_t first, int64_t n, int64_t channels,
                                          const struct planes *v)
{
    const bool bf16 = s->bf16;
    float edge[POSITIONS][LANES], lines[SPAN][SPAN][LANES];
    struct place at = place_of(s, first);
    for (int64_t t = 0; t < n; t++, next_place(s, &at)) {
        const int64_t top = at.y - 1, left = at.x - 1;
        const bool inside = top >= 0 && left >= 0 && top + SPAN <= s->h && left + SPAN <= s->w;
        for (int64_t k = 0; k < channels; k += LANES) {
            const int64_t corner = ((at.image * s->h + top) * s->w + left) * s->c + k;
            const float *from = (const float *)x + corner;
            int64_t pixel = s->c, line = s->w * s->c;
            if (bf16 || !inside || k + LANES > channels) {
                const int64_t lanes = count_min(LANES, channels - k);
                for (int64_t i = 0; i < SPAN; i++)
                    for (int64_t j = 0; j < SPAN; j++)
                        load_lanes(bf16, x, corner + i * line + j * pixel,
                                   top + i >= 0 && top + i < s->h && left + j >= 0 &&
                                           left + j < s->w
                                       ? lanes
                                       : 0,
                                   edge[i * SPAN + j]);
                from = edge[0];
                pixel = LANES;
                line = SPAN * LANES;
            }
            for (int64_t j = 0; j < SPAN; j++)
                input_line(from + j * pixel, line, lines[0][j], SPAN * LANES);
            float *to = planes_at(v, t, k);
            for (int64_t i = 0; i < SPAN; i++)
                input_line(lines[i][0], LANES, to + i * SPAN * v->position, v->position);
        }
    }
}

/* Adds the sums of a tile's 16 pixels. */
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

/* Transforms rows `row` to row + n of m, which are the tiles from `first` on, to y. */
MULTIVERSION static void transform_outputs(const struct winograd_shape *s, const struct planes *m,
                                           int64_t row, int64_t first, int64_t n, void *y,
                                           double *sums, bool add)
{
    const int64_t o = s->o;
    const bool bf16 = s->bf16;
    float lines[TILE][SPAN][LANES], tile[TILE][TILE][LANES];
    if (sums)
        memset(sums, 0, (size_t)(2 * o) * sizeof *sums);
    struct place at = place_of(s, first);
    for (int64_t t = row; t < row + n; t++, next_place(s, &at)) {
        const int64_t down = count_min(TILE, s->h - at.y), across = count_min(TILE, s->w - at.x);
        const int64_t corner = ((at.image * s->h + at.y) * s->w + at.x) * o;
        for (int64_t k = 0; k < o; k += LANES) {
            const float *from = planes_at(m, t, k);
            for (int64_t j = 0; j < SPAN; j++)
                output_line(from + j * m->position, SPAN * m->position, lines[0][j], SPAN * LANES);
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

/* The products of n tiles: position by position, so that a position's tiles stay in the cache while
 * its weights stream past them. */
static void multiply_tiles(const struct gemm_kernel *p, const struct winograd_shape *s,
                           const struct forward_memory *f, const float *packed, int64_t n)
{
    const int64_t inputs = count_round_up(s->c, LANES),
                  packed_next = packed_position(p, s->c, s->o);
    for (int64_t i = 0; i < inputs / LANES; i++)
        f->steps[i] = (struct gemm_step){.a = i * f->v.rows * LANES * (int64_t)sizeof(float),
                                         .b = i * (int64_t)gemm_kernel_step_bytes(p)};
    for (int64_t q = 0; q < POSITIONS; q++)
        for (int64_t k = 0; k < s->o; k += p->columns)
            for (int64_t t = 0; t < n; t += p->rows)
                p->block(planes_at(&f->v, t, 0) + q * f->v.position, LANES * sizeof(float),
                         packed + q * packed_next + k * inputs, f->steps, inputs / LANES,
                         planes_at(&f->m, t, k) + q * f->m.position);
}

void winograd_forward(const struct gemm_kernel *p, const struct winograd_shape *s, const void *x,
                      const float *packed, void *y, double *sums, bool add,
                      const struct workspace *work)
{
    const struct cut k = cut(s, work->threads);
#pragma omp parallel num_threads(work->threads)
    {
        struct forward_memory f;
        forward_memory(p, s, workspace_of_thread(work), &f);
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < k.strips; i++) {
            const int64_t part = i * k.strip, end = count_min(part + k.strip, k.count);
            const int64_t first = part_tile(s, &k, part), n = part_tile(s, &k, end) - first;
            transform_inputs(s, x, first, n, s->c, &f.v);
            multiply_tiles(p, s, &f, packed, n);
            for (int64_t j = part; j < end; j++) {
                const int64_t at = part_tile(s, &k, j);
                transform_outputs(s, &f.m, at - first, at, part_tile(s, &k, j + 1) - at, y,
                                  sums ? sums + j * 2 * s->o : NULL, add);
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

/* Zeros for the tiles from n to a multiple of 16. */
static void clear_tiles(const struct planes *v, int64_t n, int64_t channels)
{
    const size_t bytes = (size_t)((count_round_up(n, LANES) - n) * v->columns) * sizeof(float);
    for (int64_t q = 0; q < POSITIONS && bytes; q++)
        for (int64_t k = 0; k < channels; k += v->columns)
            memset(planes_at(v, n, k) + q * v->position, 0, bytes);
}

/* Four values of two vectors a and b, counted through both. */
#if defined(__clang__)
#define PICK(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define PICK(a, b, i, j, k, l)                                                                     \
    __builtin_shuffle(a, b, (int32_t __attribute__((vector_size(16)))){i, j, k, l})
#endif

/* In squares of 4 x 4, of which a compiler makes two rounds of shuffles. */
static inline void transpose(float from[LANES][LANES], float to[LANES][LANES])
{
    typedef float quad __attribute__((vector_size(16)));
    for (int64_t i = 0; i < LANES; i += 4)
        for (int64_t j = 0; j < LANES; j += 4) {
            quad a, b, c, d;
            memcpy(&a, &from[i][j], sizeof a);
            memcpy(&b, &from[i + 1][j], sizeof b);
            memcpy(&c, &from[i + 2][j], sizeof c);
            memcpy(&d, &from[i + 3][j], sizeof d);
            const quad ab = PICK(a, b, 0, 4, 1, 5), ab2 = PICK(a, b, 2, 6, 3, 7);
            const quad cd = PICK(c, d, 0, 4, 1, 5), cd2 = PICK(c, d, 2, 6, 3, 7);
            a = PICK(ab, cd, 0, 1, 4, 5);
            b = PICK(ab, cd, 2, 3, 6, 7);
            c = PICK(ab2, cd2, 0, 1, 4, 5);
            d = PICK(ab2, cd2, 2, 3, 6, 7);
            memcpy(&to[j][i], &a, sizeof a);
            memcpy(&to[j + 1][i], &b, sizeof b);
            memcpy(&to[j + 2][i], &c, sizeof c);
            memcpy(&to[j + 3][i], &d, sizeof d);
        }
}

/* Transforms the gradients of n tiles' outputs from tile `first` on to d's first columns, and zeros
 * for those that fill up 16. 16 tiles are transposed before, as they have fewer pixels than
 * positions. */
MULTIVERSION static void transform_gradients(const struct winograd_shape *s, const void *dy,
                                             int64_t first, int64_t n, const struct planes *d)
{
    const bool bf16 = s->bf16;
    float pixels[LANES][LANES], turned[TILE][TILE][LANES][LANES], lines[SPAN][TILE][LANES];
    for (int64_t t = 0; t < n; t += LANES) {
        struct place at[LANES], next = place_of(s, first + t);
        for (int64_t i = 0; i < LANES; i++, next_place(s, &next))
            at[i] = next;
        for (int64_t k = 0; k < s->o; k += LANES) {
            const int64_t lanes = count_min(LANES, s->o - k);
            for (int64_t i = 0; i < TILE; i++)
                for (int64_t j = 0; j < TILE; j++) {
                    for (int64_t l = 0; l < LANES; l++) {
                        const int64_t y = at[l].y + i, x = at[l].x + j;
                        load_lanes(bf16, dy, ((at[l].image * s->h + y) * s->w + x) * s->o + k,
                                   t + l < n && y < s->h && x < s->w ? lanes : 0, pixels[l]);
                    }
                    transpose(pixels, turned[i][j]);
                }
            for (int64_t l = 0; l < LANES; l++) {
                for (int64_t j = 0; j < TILE; j++)
                    gradient_line(turned[0][j][l], TILE * LANES * LANES, lines[0][j], TILE * LANES);
                float *to = planes_at(d, k + l, t);
                for (int64_t i = 0; i < SPAN; i++)
                    gradient_line(lines[i][0], LANES, to + i * SPAN * d->position, d->position);
            }
        }
    }
}

/* Transforms products back, which are of `rows` outputs and `columns` inputs: to (rows, 9, c) gets
 * its first `columns` channels. */
MULTIVERSION static void transform_weights(const struct planes *m, int64_t rows, int64_t columns,
                                           int64_t c, bool add, float *to)
{
    float lines[3][SPAN][LANES], taps[9][LANES];
    for (int64_t r = 0; r < rows; r++, to += 9 * c)
        for (int64_t k = 0; k < columns; k += LANES) {
            const float *from = planes_at(m, r, k);
            for (int64_t j = 0; j < SPAN; j++)
                tap_line(from + j * m->position, SPAN * m->position, lines[0][j], SPAN * LANES);
            for (int64_t i = 0; i < 3; i++)
                tap_line(lines[i][0], LANES, taps[3 * i], LANES);
            const int64_t lanes = count_min(LANES, columns - k);
            for (int64_t i = 0; i < 9; i++)
                store_lanes(false, to, i * c + k, lanes, taps[i], add);
        }
}

/* Stores or adds the gradient of n tiles for v's first channels, which are partial's first ones.
 * Where the sums go is fetched meanwhile: it is scattered over more memory than caches hold. */
static void multiply_gradients(const struct gemm_kernel *p, const struct winograd_shape *s,
                               const struct gradient_memory *g, int64_t n, int64_t channels,
                               bool add, float *partial)
{
    const int64_t steps = count_divide_up(n, LANES);
    for (int64_t i = 0; i < steps; i++)
        g->steps[i] = (struct gemm_step){.a = i * LANES * (int64_t)sizeof(float),
                                         .b = i * (int64_t)gemm_kernel_step_bytes(p)};
    for (int64_t from = 0; from < channels; from += GROUP)
        for (int64_t o = 0; o < s->o; o += p->rows)
            for (int64_t k = from; k < channels && k < from + GROUP; k += p->columns) {
                const int64_t rows = count_min(p->rows, s->o - o);
                const int64_t columns = count_min(p->columns, channels - k);
                float *to = partial + o * 9 * s->c + k;
                for (int64_t q = 0; q < POSITIONS; q++) {
                    for (int64_t i = q; i < rows * 9; i += POSITIONS)
                        for (int64_t j = 0; j < columns; j += LINE)
                            __builtin_prefetch(to + i * s->c + j, 1);
                    p->block(planes_at(&g->d, o, 0) + q * g->d.position,
                             (size_t)g->d.columns * sizeof(float),
                             planes_at(&g->v, 0, k) + q * g->v.position, g->steps, steps,
                             g->m.first + q * g->m.position);
                }
                transform_weights(&g->m, rows, columns, s->c, add, to);
            }
}

/* A task is a grain, or where there are fewer grains than threads, a grain and some channels of x;
 * it goes through the grain's strips in order. */
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
        struct gradient_memory g;
        gradient_memory(p, s, workspace_of_thread(work), &g);
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < s->grains * spans; i++) {
            const int64_t grain = i / spans, c = i % spans * span;
            const int64_t channels = count_min(span, s->c - c);
            for (int64_t t = 0; t < all; t += strip) {
                const int64_t n = count_min(strip, all - t), first = grain * all + t;
                transform_inputs(s, (const char *)x + c * value_bytes(s->bf16), first, n, channels,
                                 &g.v);
                clear_tiles(&g.v, n, channels);
                transform_gradients(s, dy, first, n, &g.d);
                multiply_gradients(p, s, &g, n, channels, t > 0,
                                   partials + grain * s->o * 9 * s->c + c);
            }
        }
        p->end();
    }
}
