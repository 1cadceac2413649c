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
#include "winograd.h"

#include <string.h>

#include "clones.h"

enum {
    TILE = 4,       /* outputs of a tile, a side */
    SPAN = 6,       /* its inputs */
    POSITIONS = 36, /* SPAN^2 */
    LANES = 16,     /* channels that are transformed together */
    LINE = 16,      /* floats of a cache line */
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

/* ---- where tiles are ---- */

static int64_t divide_up(int64_t a, int64_t b)
{
    return (a + b - 1) / b;
}

static int64_t round_up(int64_t a, int64_t b)
{
    return divide_up(a, b) * b;
}

static int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Tiles are numbered through the batch, row by row of each image. */
struct place {
    int64_t image, y, x; /* of the first output */
};

static struct place place_of(const struct winograd_shape *s, int64_t tile)
{
    const int64_t across = divide_up(s->w, TILE), each = divide_up(s->h, TILE) * across;
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
    return s->images / s->grains * divide_up(s->h, TILE) * divide_up(s->w, TILE);
}

/* The batch is cut into parts, each of one grain, and strips, which are what a thread does at a
 * time: one part, or the parts of some whole small grains. */
struct cut {
    int64_t part, parts;   /* tiles of a part (a grain's last one may have less); of a grain */
    int64_t strip, strips; /* parts of a strip; strips of the batch */
    int64_t tiles;         /* most tiles of a strip */
};

static struct cut cut(const struct winograd_shape *s)
{
    const int64_t most = 32 + (s->c + s->o) / 16;
    const int64_t all = tiles_per_grain(s);
    struct cut k;
    k.part = least(all, round_up(divide_up(all, divide_up(all, most)), 8));
    k.parts = divide_up(all, k.part);
    const int64_t count = k.parts * s->grains;
    k.strips = divide_up(count, all > most ? 1 : most / all);
    k.strip = divide_up(count, k.strips);
    k.strips = divide_up(count, k.strip);
    k.tiles = k.strip * k.part;
    return k;
}

/* The first tile of a part, numbered through the batch; that of part `count` is behind the last. */
static int64_t part_tile(const struct winograd_shape *s, const struct cut *k, int64_t part)
{
    return part / k->parts * tiles_per_grain(s) + part % k->parts * k->part;
}

/* ---- memory ---- */

/* Between the same place in two positions: a line more than the data, or 36 streams of stores
 * would fall into the same few sets of a cache. */
static int64_t position_floats(int64_t data)
{
    return data + LINE;
}

static int64_t packed_position(const struct product *p, int64_t c, int64_t o)
{
    return position_floats(round_up(c, p->depth) * round_up(o, p->columns));
}

/* A thread's memory in the forward pass. */
struct forward_memory {
    int64_t rows; /* tiles, padded to whole blocks */
    int64_t v_position, m_position;
    float *v;                   /* transformed inputs [36][c / 16][rows][16] */
    float *m;                   /* products [36][o / columns][rows][columns] */
    struct product_step *steps; /* [c / 16] */
    size_t bytes;
};

static struct forward_memory forward_memory(const struct product *p, const struct winograd_shape *s,
                                            unsigned char *at)
{
    struct forward_memory f = {.rows = round_up(cut(s).tiles, p->rows)};
    f.v_position = position_floats(round_up(s->c, LANES) * f.rows);
    f.m_position = position_floats(round_up(s->o, p->columns) * f.rows);
    f.v = (float *)at;
    f.m = f.v + POSITIONS * f.v_position;
    f.steps = (struct product_step *)(f.m + POSITIONS * f.m_position);
    f.bytes = (size_t)(POSITIONS * (f.v_position + f.m_position)) * sizeof(float) +
              (size_t)round_up(divide_up(s->c, LANES) * (int64_t)sizeof *f.steps, 64);
    return f;
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

bool winograd_pays(const struct winograd_shape *s)
{
    return s->c >= 32 && s->o >= 32;
}

size_t winograd_packed_bytes(const struct product *p, const struct winograd_shape *s)
{
    const size_t bytes = POSITIONS * sizeof(float);
    return larger((size_t)packed_position(p, s->c, s->o) * bytes,
                  (size_t)packed_position(p, s->o, s->c) * bytes);
}

size_t winograd_work_bytes(const struct product *p, const struct winograd_shape *s)
{
    const struct winograd_shape back = exchanged(s);
    return larger(forward_memory(p, s, NULL).bytes, forward_memory(p, &back, NULL).bytes);
}

/* ---- weights ---- */

/* Where the weight of an input and an output channel lies, and its taps. */
struct weights {
    const float *first;
    int64_t in, out, tap; /* floats from one to the next; tap -1: flipped, first is the last tap */
};

/* Weights of inputs c..c+16 and outputs o..o+16 to packed [16][columns] of each position; channels
 * that there are not count as 0. */
CLONES static void pack_weights(const struct weights *w, int64_t inputs, int64_t outputs,
                                int64_t columns, int64_t position, float *packed)
{
    float g[9][LANES][LANES] = {{{0}}};
    for (int64_t j = 0; j < outputs; j++)
        for (int64_t i = 0; i < inputs; i++)
            for (int64_t k = 0; k < 9; k++)
                g[k][i][j] = w->first[i * w->in + j * w->out + k * w->tap];
    for (int64_t i = 0; i < LANES; i++, packed += columns) {
        float rows[SPAN][3][LANES];
        for (int64_t x = 0; x < 3; x++)
            weight_line(g[x][i], 3 * LANES * LANES, rows[0][x], 3 * LANES);
        for (int64_t y = 0; y < SPAN; y++)
            weight_line(rows[y][0], LANES, packed + y * SPAN * position, position);
    }
}

/* packed: [36][o / columns][c / 16][16][columns] */
static void pack(const struct product *p, int64_t c, int64_t o, struct weights all, float *packed,
                 int threads)
{
    const int64_t position = packed_position(p, c, o), inputs = round_up(c, LANES);
    const int64_t in_blocks = inputs / LANES, blocks = round_up(o, p->columns) / LANES * in_blocks;
#pragma omp parallel for schedule(static) num_threads(threads)
    for (int64_t b = 0; b < blocks; b++) {
        const int64_t to = b / in_blocks * LANES, from = b % in_blocks * LANES;
        struct weights w = all;
        w.first += from * w.in + to * w.out;
        pack_weights(&w, least(c - from, LANES), least(o - to, LANES), p->columns, position,
                     packed + to / p->columns * p->columns * inputs + from * p->columns +
                         to % p->columns);
    }
}

void winograd_pack_forward(const struct product *p, const struct winograd_shape *s,
                           const float *weight, float *packed, int threads)
{
    pack(p, s->c, s->o, (struct weights){.first = weight, .in = 9, .out = s->c * 9, .tap = 1},
         packed, threads);
}

void winograd_pack_backward(const struct product *p, const struct winograd_shape *s,
                            const float *weight, float *packed, int threads)
{
    pack(p, s->o, s->c, (struct weights){.first = weight + 8, .in = s->c * 9, .out = 9, .tap = -1},
         packed, threads);
}

/* ---- forward ---- */

/* Transforms n tiles of x, from tile `first`. Channel k of tile t goes to
 * v[k / columns][t][k % columns] of each position; there are `rows` tiles in each block of columns.
 * Channels up to a multiple of 16 are written. */
CLONES static void transform_inputs(const struct winograd_shape *s, const float *x, int64_t first,
                                    int64_t n, int64_t rows, int64_t columns, int64_t position,
                                    float *v)
{
    const int64_t c = s->c;
    float edge[POSITIONS][LANES], lines[SPAN][SPAN][LANES];
    struct place at = place_of(s, first);
    for (int64_t t = 0; t < n; t++, next_place(s, &at)) {
        const int64_t top = at.y - 1, left = at.x - 1;
        const float *corner = x + ((at.image * s->h + top) * s->w + left) * c;
        const bool inside = top >= 0 && left >= 0 && top + SPAN <= s->h && left + SPAN <= s->w;
        for (int64_t k = 0; k < c; k += LANES) {
            const float *from = corner + k;
            int64_t pixel = c, line = s->w * c;
            if (!inside || k + LANES > c) {
                const size_t bytes = (size_t)least(LANES, c - k) * sizeof **edge;
                for (int64_t i = 0; i < SPAN; i++)
                    for (int64_t j = 0; j < SPAN; j++) {
                        float *to = edge[i * SPAN + j];
                        const float *pixel_from = from + i * line + j * pixel;
                        if (top + i < 0 || top + i >= s->h || left + j < 0 || left + j >= s->w) {
                            memset(to, 0, sizeof *edge);
                        } else if (bytes == sizeof *edge) {
                            memcpy(to, pixel_from, sizeof *edge);
                        } else {
                            memset(to, 0, sizeof *edge);
                            memcpy(to, pixel_from, bytes);
                        }
                    }
                from = edge[0];
                pixel = LANES;
                line = SPAN * LANES;
            }
            for (int64_t j = 0; j < SPAN; j++)
                input_line(from + j * pixel, line, lines[0][j], SPAN * LANES);
            float *to = v + (k / columns * rows + t) * columns + k % columns;
            for (int64_t i = 0; i < SPAN; i++)
                input_line(lines[i][0], LANES, to + i * SPAN * position, position);
        }
    }
}

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

/* Transforms the products of n tiles from tile `first`, the r-th ones of the strip, to y. */
CLONES static void transform_outputs(const struct winograd_shape *s, const float *m, int64_t first,
                                     int64_t n, int64_t r, int64_t rows, int64_t columns,
                                     int64_t position, float *y, double *sums, bool add)
{
    const int64_t o = s->o;
    float lines[TILE][SPAN][LANES], tile[TILE][TILE][LANES];
    if (sums)
        memset(sums, 0, (size_t)(2 * o) * sizeof *sums);
    struct place at = place_of(s, first);
    for (int64_t t = r; t < r + n; t++, next_place(s, &at)) {
        const int64_t down = least(TILE, s->h - at.y), across = least(TILE, s->w - at.x);
        float *corner = y + ((at.image * s->h + at.y) * s->w + at.x) * o;
        for (int64_t k = 0; k < o; k += LANES) {
            const float *from = m + (k / columns * rows + t) * columns + k % columns;
            for (int64_t j = 0; j < SPAN; j++)
                output_line(from + j * position, SPAN * position, lines[0][j], SPAN * LANES);
            for (int64_t i = 0; i < TILE; i++)
                output_line(lines[i][0], LANES, tile[i][0], LANES);
            const int64_t lanes = least(LANES, o - k);
            for (int64_t i = 0; i < TILE; i++)
                for (int64_t j = 0; j < TILE; j++) {
                    float *to = corner + (i * s->w + j) * o + k, *value = tile[i][j];
                    if (i >= down || j >= across) {
                        memset(value, 0, sizeof tile[i][j]);
                        continue;
                    }
                    if (add)
                        for (int64_t l = 0; l < lanes; l++)
                            value[l] += to[l];
                    if (lanes == LANES)
                        memcpy(to, value, sizeof tile[i][j]);
                    else
                        memcpy(to, value, (size_t)lanes * sizeof *value);
                }
            if (sums)
                add_sums(tile[0][0], lanes, sums + k, sums + o + k);
        }
    }
}

/* The 36 products of n tiles. */
static void multiply_tiles(const struct product *p, const struct winograd_shape *s,
                           const struct forward_memory *f, const float *packed, int64_t n)
{
    const int64_t inputs = round_up(s->c, LANES), packed_next = packed_position(p, s->c, s->o);
    for (int64_t i = 0; i < inputs / LANES; i++)
        f->steps[i] = (struct product_step){.a = i * f->rows * LANES * (int64_t)sizeof(float),
                                            .b = i * (int64_t)product_step_bytes(p)};
    for (int64_t q = 0; q < POSITIONS; q++)
        for (int64_t k = 0; k < s->o; k += p->columns)
            for (int64_t t = 0; t < n; t += p->rows)
                p->block(f->v + q * f->v_position + t * LANES, LANES * sizeof(float),
                         packed + q * packed_next + k * inputs, f->steps, inputs / LANES,
                         f->m + q * f->m_position + k * f->rows + t * p->columns);
}

void winograd_forward(const struct product *p, const struct winograd_shape *s, const float *x,
                      const float *packed, float *y, double *sums, bool add,
                      const struct workspace *work)
{
    const struct cut k = cut(s);
#pragma omp parallel num_threads(work->threads)
    {
        const struct forward_memory f = forward_memory(p, s, workspace_of_thread(work));
        p->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < k.strips; i++) {
            const int64_t part = i * k.strip, end = least(part + k.strip, k.parts * s->grains);
            const int64_t first = part_tile(s, &k, part), n = part_tile(s, &k, end) - first;
            transform_inputs(s, x, first, n, f.rows, LANES, f.v_position, f.v);
            multiply_tiles(p, s, &f, packed, n);
            for (int64_t j = part; j < end; j++) {
                const int64_t at = part_tile(s, &k, j);
                transform_outputs(s, f.m, at, part_tile(s, &k, j + 1) - at, at - first, f.rows,
                                  p->columns, f.m_position, y, sums ? sums + j * 2 * s->o : NULL,
                                  add);
            }
        }
        p->end();
    }
}

int64_t winograd_sum_rows(const struct winograd_shape *s)
{
    return cut(s).parts * s->grains;
}
