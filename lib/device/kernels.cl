/* kernels: the operations of an engine (engine/engine.h) on a device, in float32.
 *
 * The text is OpenCL C 1.2, and CUDA C++ as NVRTC compiles it: it uses what both have, and the names
 * of the next lines for the rest. Sizes are in kernel_arguments.h, which is put before it. A map is
 * given as a block of memory and the place in it at which the map begins, in bytes.
 *
 * Bits. Each value is a sum in a fixed order that depends on the sizes of one image and of one grain
 * alone. Sums over many values are pairs of floats, whose second one collects what rounding takes
 * from the first: as exact as double, which many devices lack or compute slowly. */
#ifdef __OPENCL_C_VERSION__
#pragma OPENCL FP_CONTRACT OFF /* a sum of pairs needs each rounding; for NVRTC: --fmad=false */
#define KERNEL __kernel
#define FUNCTION static inline
#define GLOBAL __global
#define LOCAL __local
#define SHARED(name, n) __local float name[n] __attribute__((aligned(16)))
#define GROUP(d) ((int)get_group_id(d))
#define ITEM ((int)get_local_id(0))
#define BARRIER barrier(CLK_LOCAL_MEM_FENCE)
#define FLOAT2(a, b) ((float2)(a, b))
#define FLOAT4(a, b, c, d) ((float4)(a, b, c, d))
#else
#define KERNEL extern "C" __global__
#define FUNCTION static __device__ inline
#define GLOBAL
#define LOCAL
#define SHARED(name, n) __shared__ __align__(16) float name[n]
#define GROUP(d) ((int)((d) == 0 ? blockIdx.x : (d) == 1 ? blockIdx.y : blockIdx.z))
#define ITEM ((int)threadIdx.x)
#define BARRIER __syncthreads()
#define FLOAT2(a, b) make_float2(a, b)
#define FLOAT4(a, b, c, d) make_float4(a, b, c, d)
typedef unsigned char uchar;
#endif

#define MAP(name) GLOBAL uchar *name##_memory, unsigned long name##_at
#define FLOATS(name) ((GLOBAL float *)(name##_memory + name##_at))
#define PAIRS(name) ((GLOBAL float2 *)(name##_memory + name##_at))
#define INDEX (GROUP(0) * ITEMS + ITEM)

/* ---- sums of pairs ---- */

/* Adds v to a sum (D. E. Knuth's two-sum: the second part is exactly what the first loses). */
FUNCTION float2 pair_add(float2 sum, float v)
{
    const float high = sum.x + v, part = high - sum.x;
    return FLOAT2(high, sum.y + ((sum.x - (high - part)) + (v - part)));
}

FUNCTION float2 pair_add_product(float2 sum, float a, float b)
{
    const float product = a * b;
    sum = pair_add(sum, product);
    sum.y += fma(a, b, -product);
    return sum;
}

FUNCTION float2 pair_join(float2 sum, float2 other)
{
    sum = pair_add(sum, other.x);
    sum.y += other.y;
    return sum;
}

/* Adds rows of pairs, x (grains, grain_rows, columns) to y (grains, columns). A group adds 8 columns
 * in 8 parts of their rows. */
KERNEL void sum_pairs(const struct sum_arguments s, MAP(x), MAP(y))
{
    SHARED(parts, 2 * ITEMS);
    const int column = GROUP(0) * 8 + ITEM % 8, part = ITEM / 8, grain = GROUP(1);
    const int each = (s.grain_rows + 7) / 8, from = part * each;
    const int end = from + each < s.grain_rows ? from + each : s.grain_rows;
    float2 sum = FLOAT2(0, 0);
    if (column < s.columns)
        for (int r = from; r < end; r++)
            sum = pair_join(sum, PAIRS(x)[((long)grain * s.grain_rows + r) * s.columns + column]);
    parts[2 * ITEM] = sum.x;
    parts[2 * ITEM + 1] = sum.y;
    BARRIER;
    if (part || column >= s.columns)
        return;
    for (int i = 1; i < 8; i++)
        sum = pair_join(sum, FLOAT2(parts[2 * (8 * i + ITEM)], parts[2 * (8 * i + ITEM) + 1]));
    PAIRS(y)[grain * s.columns + column] = sum;
}

/* ---- values in ---- */

/* Sets y to what the table (channels, 256) has for each byte of x. */
KERNEL void load_bytes(const struct bytes_arguments s, MAP(x), MAP(table), MAP(y))
{
    const int i = INDEX;
    if (i < s.values)
        FLOATS(y)[i] = FLOATS(table)[i % s.channels * 256 + (x_memory + x_at)[i]];
}

/* ---- block products ----
 *
 * A group keeps STEP rows of A (STEP, TILE) and of B (STEP, TILE) in local memory, twice, so that
 * the next ones are written while these are read. An item fetches 16 values of each from global
 * memory before it multiplies, so that they arrive meanwhile. It reads 16 values of local memory for
 * 64 multiplications, and a group 8 bytes of global memory for each 64: 16 operations a byte.
 *
 * Item (down, across) computes rows 4 down + {0..3} and 32 + 4 down + {0..3}, and columns likewise:
 * neighbours then read neighbouring values. */

#define DOWN (ITEM / 8)
#define ACROSS (ITEM % 8)
#define SPREAD(item, i) ((i) < 4 ? 4 * (item) + (i) : 32 + 4 * (item) + (i)-4)

FUNCTION void multiply(LOCAL const float *a, LOCAL const float *b, float sums[8][8])
{
    for (int k = 0; k < STEP; k++) {
        LOCAL const float4 *row_a = (LOCAL const float4 *)(a + k * TILE) + DOWN;
        LOCAL const float4 *row_b = (LOCAL const float4 *)(b + k * TILE) + ACROSS;
        const float4 a0 = row_a[0], a1 = row_a[8], b0 = row_b[0], b1 = row_b[8];
        const float column[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
        const float row[8] = {b0.x, b0.y, b0.z, b0.w, b1.x, b1.y, b1.z, b1.w};
#pragma unroll
        for (int i = 0; i < 8; i++)
#pragma unroll
            for (int j = 0; j < 8; j++)
                sums[i][j] = fma(column[i], row[j], sums[i][j]);
    }
}

/* Sets the 4 values of an item's part of a row of A or B. */
FUNCTION void keep(LOCAL float *to, float4 v)
{
    *(LOCAL float4 *)to = v;
}

FUNCTION float4 four_at(GLOBAL const float *from)
{
    return *(GLOBAL const float4 *)from;
}

/* Returns 4 neighbours of a row of `n` values, from column `at`; those beyond the row are 0. Rows
 * are aligned to 16 bytes if n is a multiple of 4. */
FUNCTION float4 four_of_row(GLOBAL const float *row, int at, int n)
{
    if (n % 4 == 0)
        return at < n ? four_at(row + at) : FLOAT4(0, 0, 0, 0);
    return FLOAT4(at < n ? row[at] : 0, at + 1 < n ? row[at + 1] : 0, at + 2 < n ? row[at + 2] : 0,
                  at + 3 < n ? row[at + 3] : 0);
}

/* Sets 4 neighbours of a row of n values, or adds to them. */
FUNCTION void set_four(GLOBAL float *row, int at, int n, float4 v, int add)
{
    if (n % 4 == 0) {
        if (at >= n)
            return;
        GLOBAL float4 *to = (GLOBAL float4 *)(row + at);
        const float4 old = add ? *to : FLOAT4(0, 0, 0, 0);
        *to = add ? FLOAT4(old.x + v.x, old.y + v.y, old.z + v.z, old.w + v.w) : v;
        return;
    }
    const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (at + i < n)
            row[at + i] = add ? row[at + i] + values[i] : values[i];
}

/* ---- pixels ---- */

struct pixel {
    int image, y, x;
};

/* Returns pixel number p of maps of so many rows and columns. */
FUNCTION struct pixel pixel_of(int p, int rows, int columns)
{
    const struct pixel at = {p / (rows * columns), p / columns % rows, p % columns};
    return at;
}

/* ---- convolutions ---- */

/* Sets packed (packed_rows, packed_columns) from the weights. */
KERNEL void pack_weights(const struct pack_arguments s, MAP(weight), MAP(packed))
{
    const int i = INDEX, row = i / s.packed_columns, column = i % s.packed_columns;
    if (row >= s.packed_rows)
        return;
    const int inner = s.backward ? s.out : s.in, outer = s.backward ? s.in : s.out;
    const int tap = row / inner, within = row % inner;
    float v = 0;
    if (tap < s.window_rows * s.window_columns && column < outer) {
        const int o = s.backward ? within : column, c = s.backward ? column : within;
        const int y = s.first_row + tap / s.window_columns * s.row_step;
        const int x = s.first_column + tap % s.window_columns * s.column_step;
        v = FLOATS(weight)[((o * s.in + c) * s.rows + y) * s.columns + x];
    }
    FLOATS(packed)[i] = v;
}

/* Return the value of channel c of pixel (y, x) of an image, or four from c on; 0 outside of the
 * image, or if not `here`. Four are aligned if the channels are a multiple of 4. */
FUNCTION float pixel_value(GLOBAL const float *image, int rows, int columns, int channels, int here,
                           int y, int x, int c)
{
    here = here && y >= 0 && y < rows && x >= 0 && x < columns;
    return here ? image[(y * columns + x) * channels + c] : 0;
}

FUNCTION float4 pixel_four(GLOBAL const float *image, int rows, int columns, int channels, int here,
                           int y, int x, int c)
{
    here = here && y >= 0 && y < rows && x >= 0 && x < columns;
    return here ? four_at(image + (y * columns + x) * channels + c) : FLOAT4(0, 0, 0, 0);
}

/* Position (i, j) of a window, and channel c. */
struct tap {
    int i, j, c;
};

/* Returns the tap that comes `by` channels later. */
FUNCTION struct tap later(struct tap at, const struct pass_arguments s, int by)
{
    at.c += by;
    if (at.c == s.in_channels) {
        at.c = 0;
        if (++at.j == s.window_columns) {
            at.j = 0;
            at.i++;
        }
    }
    return at;
}

FUNCTION float tap_value(const struct pass_arguments s, GLOBAL const float *image, int here,
                         int row, int column, struct tap at)
{
    return pixel_value(image, s.in_rows, s.in_columns, s.in_channels, here && at.i < s.window_rows,
                       row + at.i, column + at.j, at.c);
}

/* Fetches the next STEP values of the window that begins at (row, column) of the image, which are 0
 * outside of the image and after the window. Returns the tap that comes next. */
FUNCTION struct tap fetch_window(const struct pass_arguments s, GLOBAL const float *image, int here,
                                 int row, int column, struct tap at, float values[STEP])
{
#pragma unroll
    for (int q = 0; q < STEP; q += 4)
        if (s.in_channels % 4 == 0) {
            const float4 v =
                pixel_four(image, s.in_rows, s.in_columns, s.in_channels,
                           here && at.i < s.window_rows, row + at.i, column + at.j, at.c);
            values[q] = v.x;
            values[q + 1] = v.y;
            values[q + 2] = v.z;
            values[q + 3] = v.w;
            at = later(at, s, 4);
        } else {
#pragma unroll
            for (int l = 0; l < 4; l++) {
                values[q + l] = tap_value(s, image, here, row, column, at);
                at = later(at, s, 1);
            }
        }
    return at;
}

/* Writes each column's sums over the tile's rows, and over their squares, to row `row` of sums
 * (rows, 2, out_channels). An item adds its 8 rows; then item i adds the 8 parts of column i. */
FUNCTION void tile_sums(const float values[8][8], int rows, LOCAL float *parts, GLOBAL float2 *sums,
                        int row, int first, int columns)
{
    for (int of = 0; of < 2; of++) {
        BARRIER;
#pragma unroll
        for (int j = 0; j < 8; j++) {
            float2 sum = FLOAT2(0, 0);
#pragma unroll
            for (int i = 0; i < 8; i++)
                if (SPREAD(DOWN, i) < rows)
                    sum = of ? pair_add_product(sum, values[i][j], values[i][j])
                             : pair_add(sum, values[i][j]);
            parts[2 * (DOWN * TILE + SPREAD(ACROSS, j))] = sum.x;
            parts[2 * (DOWN * TILE + SPREAD(ACROSS, j)) + 1] = sum.y;
        }
        BARRIER;
        float2 sum = FLOAT2(0, 0);
        for (int i = 0; i < 8; i++)
            sum = pair_join(sum,
                            FLOAT2(parts[2 * (i * TILE + ITEM)], parts[2 * (i * TILE + ITEM) + 1]));
        if (first + ITEM < columns)
            sums[(row * 2 + of) * columns + first + ITEM] = sum;
    }
}

/* Computes a tile of a convolution, or of a gradient of its input. Groups: (tiles of all grains,
 * tiles of out_channels, products). Row r of the tile is the tile's pixel r, and item r fetches it. */
KERNEL void conv_pass(const struct pass_arguments s, MAP(x), MAP(packed), MAP(y), MAP(sums))
{
    SHARED(a, 2 * STEP * TILE);
    SHARED(b, 2 * STEP * TILE);
    const int grain = GROUP(0) / s.grain_tiles, tile = GROUP(0) % s.grain_tiles;
    const int first = GROUP(1) * TILE, part = s.part_rows * s.part_columns;
    const int pixel = tile * TILE + ITEM, here = pixel < s.grain_pixels;
    const int image = grain * s.grain_images + pixel / part, within = pixel % part;
    const int row = within / s.part_columns * s.in_step + s.in_row;
    const int column = within % s.part_columns * s.in_step_x + s.in_column;
    GLOBAL const float *from = FLOATS(x) + (long)GROUP(2) * s.in_apart +
                               (long)image * s.in_rows * s.in_columns * s.in_channels;
    GLOBAL const float *weights = FLOATS(packed) + (long)GROUP(2) * s.packed_apart +
                                  ITEM / 16 * s.packed_columns + first + ITEM % 16 * 4;
    float v[STEP], sum[8][8] = {{0}};
    float4 w[4];
    struct tap at = {0, 0, 0};
    for (int k = 0, now = 0; k <= s.packed_rows; k += STEP, now ^= STEP * TILE) {
        const int more = k < s.packed_rows;
        if (more) {
            at = fetch_window(s, from, here, row, column, at, v);
#pragma unroll
            for (int q = 0; q < 4; q++)
                w[q] = four_at(weights + (k + 4 * q) * s.packed_columns);
        }
        if (k)
            multiply(a + (now ^ STEP * TILE), b + (now ^ STEP * TILE), sum);
        if (more) {
#pragma unroll
            for (int q = 0; q < STEP; q++)
                a[now + q * TILE + ITEM] = v[q];
#pragma unroll
            for (int q = 0; q < 4; q++)
                keep(b + now + (ITEM / 16 + 4 * q) * TILE + ITEM % 16 * 4, w[q]);
        }
        BARRIER;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const int p = tile * TILE + SPREAD(DOWN, i);
        if (p >= s.grain_pixels)
            continue;
        const int out_image = grain * s.grain_images + p / part, inside = p % part;
        const int out_y = inside / s.part_columns * s.out_step + s.out_row;
        const int out_x = inside % s.part_columns * s.out_step_x + s.out_column;
        GLOBAL float *to =
            FLOATS(y) + (long)GROUP(2) * s.out_apart +
            (long)((out_image * s.out_rows + out_y) * s.out_columns + out_x) * s.out_channels;
#pragma unroll
        for (int j = 0; j < 8; j += 4)
            set_four(to, first + SPREAD(ACROSS, j), s.out_channels,
                     FLOAT4(sum[i][j], sum[i][j + 1], sum[i][j + 2], sum[i][j + 3]), s.add);
    }
    if (s.sums)
        tile_sums(sum, s.grain_pixels - tile * TILE, a, PAIRS(sums), GROUP(0), first,
                  s.out_channels);
}

/* Returns the pixel that comes STEP pixels later in maps of so many rows and columns. */
FUNCTION struct pixel pixel_after_step(struct pixel at, int rows, int columns)
{
    at.x += STEP % columns;
    if (at.x >= columns) {
        at.x -= columns;
        at.y++;
    }
    at.y += STEP / columns % rows;
    if (at.y >= rows) {
        at.y -= rows;
        at.image++;
    }
    at.image += STEP / columns / rows;
    return at;
}

/* Returns the values of x at 4 taps of the window of a pixel of y. If the channels are a multiple of
 * 4, they are neighbours. */
FUNCTION float4 fetch_taps(const struct gradient_arguments s, GLOBAL const float *x, int here,
                           struct pixel at, const struct tap taps[4])
{
    const int rows = s.in_rows, columns = s.in_columns, channels = s.in_channels;
    GLOBAL const float *image = x + at.image * rows * columns * channels;
    const int row = at.y * s.step, column = at.x * s.step_x;
    if (channels % 4 == 0)
        return pixel_four(image, rows, columns, channels, here, row + taps[0].i, column + taps[0].j,
                          taps[0].c);
    float values[4];
#pragma unroll
    for (int l = 0; l < 4; l++)
        values[l] = pixel_value(image, rows, columns, channels, here, row + taps[l].i,
                                column + taps[l].j, taps[l].c);
    return FLOAT4(values[0], values[1], values[2], values[3]);
}

/* Computes a tile of a part of a grain's gradient of the weights: A is dy (pixels, out_channels), B
 * is x (pixels, window * in_channels). Groups: (tiles of B's columns, tiles of A's columns, parts of
 * all grains). parts is (parts, out_channels, window * in_channels). */
KERNEL void conv_gradient(const struct gradient_arguments s, MAP(x), MAP(dy), MAP(parts))
{
    SHARED(a, 2 * STEP * TILE);
    SHARED(b, 2 * STEP * TILE);
    const int grain = GROUP(2) / s.splits, from = GROUP(2) % s.splits * s.split_pixels;
    const int end = from + s.split_pixels < s.grain_pixels ? from + s.split_pixels : s.grain_pixels;
    const int n = s.window_rows * s.window_columns * s.in_channels;
    const int o = GROUP(1) * TILE + ITEM % 16 * 4, column = GROUP(0) * TILE + ITEM % 16 * 4;
    const int rows = s.out_rows, columns = s.out_columns;
    struct tap taps[4]; /* of the 4 columns of B that this item fetches */
    struct pixel at[4]; /* of the 4 rows of A and B */
    float sum[8][8] = {{0}};
    float4 u[4], v[4];
#pragma unroll
    for (int l = 0; l < 4; l++) {
        const int tap = (column + l) / s.in_channels;
        taps[l].i = column + l < n ? tap / s.window_columns - s.padding : -(1 << 30);
        taps[l].j = tap % s.window_columns - s.padding_x;
        taps[l].c = (column + l) % s.in_channels;
    }
#pragma unroll
    for (int q = 0; q < 4; q++) {
        at[q] = pixel_of(from + ITEM / 16 + 4 * q, rows, columns);
        at[q].image += grain * s.grain_images;
    }
    for (int k = from, now = 0; k < end + STEP; k += STEP, now ^= STEP * TILE) {
        const int more = k < end;
        if (more) {
#pragma unroll
            for (int q = 0; q < 4; q++) {
                const int here = k + ITEM / 16 + 4 * q < end;
                const int pixel = (at[q].image * rows + at[q].y) * columns + at[q].x;
                u[q] = here ? four_of_row(FLOATS(dy) + pixel * s.out_channels, o, s.out_channels)
                            : FLOAT4(0, 0, 0, 0);
                v[q] = fetch_taps(s, FLOATS(x), here, at[q], taps);
                at[q] = pixel_after_step(at[q], rows, columns);
            }
        }
        if (k > from)
            multiply(a + (now ^ STEP * TILE), b + (now ^ STEP * TILE), sum);
        if (more) {
#pragma unroll
            for (int q = 0; q < 4; q++) {
                keep(a + now + (ITEM / 16 + 4 * q) * TILE + ITEM % 16 * 4, u[q]);
                keep(b + now + (ITEM / 16 + 4 * q) * TILE + ITEM % 16 * 4, v[q]);
            }
        }
        BARRIER;
    }
#pragma unroll
    for (int l = 0; l < 8; l++) {
        const int row = GROUP(1) * TILE + SPREAD(DOWN, l);
        if (row >= s.out_channels)
            continue;
        GLOBAL float *to = FLOATS(parts) + ((long)GROUP(2) * s.out_channels + row) * n;
#pragma unroll
        for (int m = 0; m < 8; m += 4)
            set_four(to, GROUP(0) * TILE + SPREAD(ACROSS, m), n,
                     FLOAT4(sum[l][m], sum[l][m + 1], sum[l][m + 2], sum[l][m + 3]), 0);
    }
}

/* Adds the parts of a gradient: those of a grain in their order, and grains as the balanced tree of
 * engine/grains.h. Sets gradient (out, in, window). The levels of the tree are a binary counter. */
KERNEL void gather_gradient(const struct gather_arguments s, MAP(parts), MAP(gradient))
{
    const int at = INDEX, n = s.out * s.window * s.in;
    if (at >= n)
        return;
    GLOBAL const float *part = FLOATS(parts) + at;
    float levels[31], sum = 0;
    for (int g = 0; g < s.grains; g++) {
        sum = *part;
        part += n;
        for (int i = 1; i < s.splits; i++, part += n)
            sum += *part;
        int level = 0;
        for (int rest = g; rest & 1; rest >>= 1)
            sum = levels[level++] + sum;
        levels[level] = sum;
    }
    /* The subtrees that are left, from the smallest: the bits of the number of grains. */
    int first = 1;
    for (int level = 0; s.grains >> level; level++)
        if (s.grains >> level & 1) {
            sum = first ? levels[level] : levels[level] + sum;
            first = 0;
        }
    const int o = at / (s.window * s.in), tap = at / s.in % s.window, c = at % s.in;
    FLOATS(gradient)[(o * s.in + c) * s.window + tap] = sum;
}

/* ---- Winograd's F(4x4, 3x3), with the points of engine/winograd_transform.c ---- */

#define ROOT 1.41421356f
#define ROOT_HALF 0.70710678f

FUNCTION void transform_input(float *d, int step)
{
    const float d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    const float d4 = d[4 * step], d5 = d[5 * step];
    const float even = d4 - 2 * d2, odd = ROOT_HALF * (d3 - 2 * d1);
    const float even2 = d4 - 0.5f * d2, odd2 = ROOT * (d3 - 0.5f * d1);
    d[0] = d0 + (d4 - 2.5f * d2);
    d[step] = even + odd;
    d[2 * step] = even - odd;
    d[3 * step] = even2 + odd2;
    d[4 * step] = even2 - odd2;
    d[5 * step] = d1 + (d5 - 2.5f * d3);
}

FUNCTION void transform_output(float *m, int step)
{
    const float even = m[step] + m[2 * step], odd = ROOT_HALF * (m[step] - m[2 * step]);
    const float even2 = m[3 * step] + m[4 * step], odd2 = ROOT * (m[3 * step] - m[4 * step]);
    m[0] = m[0] + even + even2;
    m[step] = odd + odd2;
    m[2 * step] = 0.5f * even + 2 * even2;
    m[3 * step] = m[5 * step] + 0.5f * odd + 2 * odd2;
}

FUNCTION void transform_weights(float *g, int step)
{
    const float g0 = g[0], g1 = g[step], g2 = g[2 * step];
    const float even = g0 + 0.5f * g2, odd = ROOT_HALF * g1;
    const float even2 = g0 + 2 * g2, odd2 = ROOT * g1;
    g[step] = -2.0f / 3 * (even + odd);
    g[2 * step] = -2.0f / 3 * (even - odd);
    g[3 * step] = 1.0f / 6 * (even2 + odd2);
    g[4 * step] = 1.0f / 6 * (even2 - odd2);
    g[5 * step] = g2;
}

/* Sets packed (36, packed_rows, packed_columns) to the transformed weights; backward, they are
 * turned by half a turn. */
KERNEL void winograd_weights(const struct pack_arguments s, MAP(weight), MAP(packed))
{
    const int at = INDEX, row = at / s.packed_columns, column = at % s.packed_columns;
    if (row >= s.packed_rows)
        return;
    float g[SIDE * SIDE];
#pragma unroll
    for (int i = 0; i < SIDE * SIDE; i++)
        g[i] = 0;
    const int o = s.backward ? row : column, c = s.backward ? column : row;
    if (o < s.out && c < s.in)
#pragma unroll
        for (int i = 0; i < 9; i++)
            g[i / 3 * SIDE + i % 3] = FLOATS(weight)[(o * s.in + c) * 9 + (s.backward ? 8 - i : i)];
#pragma unroll
    for (int i = 0; i < 3; i++)
        transform_weights(g + i * SIDE, 1);
#pragma unroll
    for (int i = 0; i < SIDE; i++)
        transform_weights(g + i, SIDE);
#pragma unroll
    for (int i = 0; i < SIDE * SIDE; i++)
        FLOATS(packed)[(long)i * s.packed_rows * s.packed_columns + at] = g[i];
}

/* Sets tiles (36, images * tile_rows * tile_columns, channels). Groups: (tiles, parts of
 * channels). */
KERNEL void winograd_input(const struct winograd_arguments s, MAP(x), MAP(tiles))
{
    const int tile = GROUP(0), c = GROUP(1) * ITEMS + ITEM;
    if (c >= s.channels)
        return;
    const int each = s.tile_rows * s.tile_columns, image = tile / each;
    const int row = tile % each / s.tile_columns * 4 - 1, column = tile % s.tile_columns * 4 - 1;
    float d[SIDE * SIDE];
#pragma unroll
    for (int i = 0; i < SIDE * SIDE; i++) {
        const int y = row + i / SIDE, x = column + i % SIDE;
        d[i] = y >= 0 && y < s.rows && x >= 0 && x < s.columns
                   ? FLOATS(x)[((image * s.rows + y) * s.columns + x) * s.channels + c]
                   : 0;
    }
#pragma unroll
    for (int i = 0; i < SIDE; i++)
        transform_input(d + i * SIDE, 1);
#pragma unroll
    for (int i = 0; i < SIDE; i++)
        transform_input(d + i, SIDE);
    const long apart = (long)s.images * each * s.channels;
#pragma unroll
    for (int i = 0; i < SIDE * SIDE; i++)
        FLOATS(tiles)[i * apart + (long)tile * s.channels + c] = d[i];
}

/* Sets y from the products of the tiles, or adds to it. Groups: (parts of TILE / 16 tiles of all
 * grains, parts of channels). Writes each part's sums to sums (parts, 2, channels). */
KERNEL void winograd_output(const struct winograd_arguments s, MAP(tiles), MAP(y), MAP(sums))
{
    const int c = GROUP(1) * ITEMS + ITEM, grain = GROUP(0) / s.grain_parts;
    const int from = GROUP(0) % s.grain_parts * (TILE / 16);
    const int end = from + TILE / 16 < s.grain_tiles ? from + TILE / 16 : s.grain_tiles;
    if (c >= s.channels)
        return;
    const int each = s.tile_rows * s.tile_columns;
    const long apart = (long)s.images * each * s.channels;
    float2 sum = FLOAT2(0, 0), squares = FLOAT2(0, 0);
    for (int t = from; t < end; t++) {
        const int tile = grain * s.grain_tiles + t, image = tile / each;
        const int row = tile % each / s.tile_columns * 4, column = tile % s.tile_columns * 4;
        float m[SIDE * SIDE];
#pragma unroll
        for (int i = 0; i < SIDE * SIDE; i++)
            m[i] = FLOATS(tiles)[i * apart + (long)tile * s.channels + c];
#pragma unroll
        for (int i = 0; i < SIDE; i++)
            transform_output(m + i * SIDE, 1);
#pragma unroll
        for (int i = 0; i < 4; i++)
            transform_output(m + i, SIDE);
#pragma unroll
        for (int i = 0; i < 16; i++) {
            const int yy = row + i / 4, xx = column + i % 4;
            if (yy >= s.rows || xx >= s.columns)
                continue;
            GLOBAL float *to =
                FLOATS(y) + ((image * s.rows + yy) * s.columns + xx) * s.channels + c;
            const float v = m[i / 4 * SIDE + i % 4];
            *to = s.add ? *to + v : v;
            sum = pair_add(sum, v);
            squares = pair_add_product(squares, v, v);
        }
    }
    if (s.sums) {
        PAIRS(sums)[GROUP(0) * 2 * s.channels + c] = sum;
        PAIRS(sums)[(GROUP(0) * 2 + 1) * s.channels + c] = squares;
    }
}

/* ---- norms ----
 * k holds the coefficients (5, channels): mean, scale, bias, constant, slope. */

FUNCTION float normalized(GLOBAL const float *k, int channels, int c, float x)
{
    return fma(x - k[c], k[channels + c], k[2 * channels + c]);
}

KERNEL void norm_forward(const struct map_arguments s, MAP(x), MAP(k), MAP(residual), MAP(y))
{
    const int i = INDEX, c = i % s.channels;
    if (i >= s.values)
        return;
    float v = normalized(FLOATS(k), s.channels, c, FLOATS(x)[i]);
    if (s.residual)
        v += FLOATS(residual)[i];
    FLOATS(y)[i] = s.relu && v < 0 ? 0 : v;
}

/* Writes sums (parts, 2, channels) of dy' and of dy' (x - mean). relu: dy' is dy where the norm of x
 * is above 0. masked: dy becomes dy', which is dy where y is above 0. Groups: (parts of TILE pixels
 * of all grains, parts of channels). */
KERNEL void norm_backward_sums(const struct map_arguments s, MAP(x), MAP(y), MAP(dy), MAP(k),
                               MAP(sums))
{
    const int c = GROUP(1) * ITEMS + ITEM, grain = GROUP(0) / s.grain_parts;
    const int from = GROUP(0) % s.grain_parts * TILE;
    const int end = from + TILE < s.grain_pixels ? from + TILE : s.grain_pixels;
    if (c >= s.channels)
        return;
    const float mean = FLOATS(k)[c];
    float2 sum = FLOAT2(0, 0), products = FLOAT2(0, 0);
    for (int p = from; p < end; p++) {
        const int i = (grain * s.grain_pixels + p) * s.channels + c;
        const float v = FLOATS(x)[i];
        float d = FLOATS(dy)[i];
        if (s.masked) {
            d = FLOATS(y)[i] > 0 ? d : 0;
            FLOATS(dy)[i] = d;
        }
        if (s.relu)
            d = normalized(FLOATS(k), s.channels, c, v) > 0 ? d : 0;
        sum = pair_add(sum, d);
        products = pair_add_product(products, d, v - mean);
    }
    PAIRS(sums)[GROUP(0) * 2 * s.channels + c] = sum;
    PAIRS(sums)[(GROUP(0) * 2 + 1) * s.channels + c] = products;
}

/* Replaces x by its gradient. */
KERNEL void norm_backward(const struct map_arguments s, MAP(x), MAP(dy), MAP(k))
{
    const int i = INDEX, c = i % s.channels, n = s.channels;
    if (i >= s.values)
        return;
    GLOBAL const float *k = FLOATS(k);
    const float v = FLOATS(x)[i];
    const float d = !s.relu || normalized(k, n, c, v) > 0 ? FLOATS(dy)[i] : 0;
    FLOATS(x)[i] = fma(d, k[n + c], -k[3 * n + c]) - (v - k[c]) * k[4 * n + c];
}

/* ---- pools ---- */

/* Returns true if v is the larger maximum: a NaN is the largest value, and -0 is less than 0. */
FUNCTION int larger(float v, float most)
{
    if (isnan(v))
        return !isnan(most);
    return v > most || (v == most && signbit(most) && !signbit(v));
}

/* Returns the pixel (row * columns + column) of the image with the maximum of the window of output
 * (a, b), the first of equals. */
FUNCTION int maximum(const struct pool_arguments s, GLOBAL const float *image, int a, int b)
{
    int best = -1;
    float most = 0;
    for (int i = 0; i < s.window; i++)
        for (int j = 0; j < s.window; j++) {
            const int y = a * s.step + i - s.padding, x = b * s.step + j - s.padding;
            if (y < 0 || y >= s.in_rows || x < 0 || x >= s.in_columns)
                continue;
            const float v = image[(y * s.in_columns + x) * s.channels];
            if (best < 0 || larger(v, most)) {
                best = y * s.in_columns + x;
                most = v;
            }
        }
    return best;
}

KERNEL void max_pool(const struct pool_arguments s, MAP(x), MAP(y))
{
    const int i = INDEX, c = i % s.channels;
    const struct pixel at = pixel_of(i / s.channels, s.out_rows, s.out_columns);
    if (at.image >= s.images)
        return;
    GLOBAL const float *from = FLOATS(x) + at.image * s.in_rows * s.in_columns * s.channels + c;
    FLOATS(y)[i] = from[maximum(s, from, at.y, at.x) * s.channels];
}

/* Each pixel of dx asks the windows that it belongs to, row by row. */
KERNEL void max_pool_backward(const struct pool_arguments s, MAP(x), MAP(dy), MAP(dx))
{
    const int i = INDEX, c = i % s.channels;
    const struct pixel at = pixel_of(i / s.channels, s.in_rows, s.in_columns);
    if (at.image >= s.images)
        return;
    GLOBAL const float *from = FLOATS(x) + at.image * s.in_rows * s.in_columns * s.channels + c;
    GLOBAL const float *d = FLOATS(dy) + at.image * s.out_rows * s.out_columns * s.channels + c;
    const int above = at.y + s.padding - s.window + s.step,
              left = at.x + s.padding - s.window + s.step;
    float sum = 0;
    for (int a = above > 0 ? above / s.step : 0; a < s.out_rows && a * s.step <= at.y + s.padding;
         a++)
        for (int b = left > 0 ? left / s.step : 0;
             b < s.out_columns && b * s.step <= at.x + s.padding; b++)
            if (maximum(s, from, a, b) == at.y * s.in_columns + at.x)
                sum += d[(a * s.out_columns + b) * s.channels];
    FLOATS(dx)[i] = sum;
}

/* Sets y (images, channels) to the means over all pixels. `residual`: x has two halves, which are
 * added. */
KERNEL void average_pool(const struct map_arguments s, MAP(x), MAP(y))
{
    const int i = INDEX, c = i % s.channels, width = s.residual ? 2 * s.channels : s.channels;
    if (i >= s.values)
        return;
    GLOBAL const float *from = FLOATS(x) + i / s.channels * s.pixels * width + c;
    float2 sum = FLOAT2(0, 0);
    for (int p = 0; p < s.pixels; p++, from += width) {
        sum = pair_add(sum, *from);
        if (s.residual)
            sum = pair_add(sum, from[s.channels]);
    }
    FLOATS(y)[i] = (sum.x + sum.y) / s.pixels;
}

/* Sets dx, or with `residual` adds to both halves of dx. */
KERNEL void average_pool_backward(const struct map_arguments s, MAP(dy), MAP(dx))
{
    const int i = INDEX, width = s.residual ? 2 * s.channels : s.channels;
    if (i >= s.values)
        return;
    const int image = i / (s.pixels * width), c = i % width % s.channels;
    const float d = FLOATS(dy)[image * s.channels + c] / s.pixels;
    FLOATS(dx)[i] = s.residual ? FLOATS(dx)[i] + d : d;
}

KERNEL void mean_pool(const struct pool_arguments s, MAP(x), MAP(y))
{
    const int i = INDEX, c = i % s.channels;
    const struct pixel at = pixel_of(i / s.channels, s.out_rows, s.out_columns);
    if (at.image >= s.images)
        return;
    float sum = 0;
    for (int t = 0; t < 4; t++) {
        const int y = at.y * s.step + t / 2, x = at.x * s.step + t % 2;
        if (y < s.in_rows && x < s.in_columns)
            sum += FLOATS(x)[((at.image * s.in_rows + y) * s.in_columns + x) * s.channels + c];
    }
    FLOATS(y)[i] = sum / 4;
}

KERNEL void mean_pool_backward(const struct pool_arguments s, MAP(dy), MAP(dx))
{
    const int i = INDEX, c = i % s.channels;
    const struct pixel at = pixel_of(i / s.channels, s.in_rows, s.in_columns);
    if (at.image >= s.images)
        return;
    float sum = 0;
    for (int t = 3; t >= 0; t--) {
        const int y = at.y - t / 2, x = at.x - t % 2;
        if (y < 0 || x < 0 || y % s.step || x % s.step)
            continue;
        if (y / s.step < s.out_rows && x / s.step < s.out_columns)
            sum += FLOATS(dy)[((at.image * s.out_rows + y / s.step) * s.out_columns + x / s.step) *
                                  s.channels +
                              c];
    }
    FLOATS(dx)[i] = sum / 4;
}

/* ---- selective kernels (arXiv 1903.06586) ---- */

/* Returns the weight of half a; that of half b is 1 - u. */
FUNCTION float half_weight(GLOBAL const float *logits, int channels, int c)
{
    return 1 / (1 + exp(logits[channels + c] - logits[c]));
}

KERNEL void halves_mix(const struct map_arguments s, MAP(x), MAP(logits), MAP(y))
{
    const int i = INDEX, c = i % s.channels, p = i / s.channels;
    if (i >= s.values)
        return;
    const float u = half_weight(FLOATS(logits) + p / s.pixels * 2 * s.channels, s.channels, c);
    GLOBAL const float *pixel = FLOATS(x) + p * 2 * s.channels + c;
    FLOATS(y)[i] = u * pixel[0] + (1 - u) * pixel[s.channels];
}

/* An item computes all pixels of a channel of an image. */
KERNEL void halves_mix_backward(const struct map_arguments s, MAP(x), MAP(logits), MAP(dy), MAP(dx),
                                MAP(dlogits))
{
    const int i = INDEX, n = s.channels, image = i / n, c = i % n;
    if (i >= s.values)
        return;
    const float u = half_weight(FLOATS(logits) + image * 2 * n, n, c);
    float2 sum = FLOAT2(0, 0);
    for (int p = image * s.pixels; p < (image + 1) * s.pixels; p++) {
        const float d = FLOATS(dy)[p * n + c];
        GLOBAL const float *pixel = FLOATS(x) + p * 2 * n + c;
        sum = pair_add_product(sum, pixel[0] - pixel[n], d);
        FLOATS(dx)[p * 2 * n + c] = u * d;
        FLOATS(dx)[p * 2 * n + n + c] = (1 - u) * d;
    }
    const float slope = u * (1 - u) * (sum.x + sum.y);
    FLOATS(dlogits)[image * 2 * n + c] = slope;
    FLOATS(dlogits)[image * 2 * n + n + c] = -slope;
}
