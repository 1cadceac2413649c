#include "views/resample.h"

#include <math.h>
#include <string.h>

#include "base/multiversion.h"
#include "views/pixels.h"

/* Resizes rows to `size` columns, a strip of them at a time, into a window of rows from which the
 * vertical pass reads its taps. The window holds as many rows as a row of the output needs, and a
 * strip.
 *
 * The taps of neighbouring output columns begin at different input columns. The horizontal pass
 * therefore computes LANES columns at once and uses the taps of all of them for each, many with the
 * weight zero. This needs five times the multiplications, but uses whole vectors. */
enum { LANES = 16, STRIP = 8, PAIR = 2 };

/* The taps of an output position, or of LANES positions: inputs first, first + 1, .... */
struct resample_taps {
    int32_t first, count;
};

static double bicubic(double x)
{
    x = fabs(x);
    if (x < 1)
        return (1.5 * x - 2.5) * x * x + 1;
    if (x < 2)
        return ((-0.5 * x + 2.5) * x - 4) * x + 2;
    return 0;
}

/* Returns an upper bound of the number of taps for resizing `length` pixels to `size`. */
static int max_taps(double length, int size)
{
    const double scale = fmax(length / size, 1);
    return (int)ceil(2 * scale) * 2 + 1;
}

/* Returns such a bound for LANES positions. */
static int max_block_taps(double length, int size)
{
    return max_taps(length, size) + (int)ceil((LANES - 1) * length / size) + 1;
}

static size_t blocks_of(int size)
{
    return ((size_t)size + LANES - 1) / LANES;
}

/* Returns the taps and weights of position i for resizing `length` pixels, from `start` on, out of
 * `limit`, to `size`. */
static struct resample_taps make_taps(double start, double length, int limit, int size, int i,
                                      float *weights)
{
    const double scale = length / size, widening = fmax(scale, 1), support = 2 * widening;
    const double center = start + (i + 0.5) * scale, narrowing = 1 / widening;
    int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
    first = first < 0 ? 0 : first;
    end = end > limit ? limit : end;
    double sum = 0;
    for (int k = first; k < end; k++) {
        const double weight = bicubic((k - center + 0.5) * narrowing);
        weights[k - first] = (float)weight;
        sum += weight;
    }
    const double inverse = 1 / sum;
    for (int k = 0; k < end - first; k++)
        weights[k] = (float)((double)weights[k] * inverse);
    return (struct resample_taps){first, end - first};
}

/* A pass along one direction: taps[n], and weights[n][stride]. */
struct resample_pass {
    struct resample_taps *taps;
    float *weights;
    size_t stride;
};

static void make_rows(const struct resample_pass *pass, double start, double length, int limit,
                      int size)
{
    for (int i = 0; i < size; i++)
        pass->taps[i] =
            make_taps(start, length, limit, size, i, pass->weights + (size_t)i * pass->stride);
}

/* Computes weights [count][LANES] for each block of positions. `one` is memory for the taps of one
 * position. */
static void make_blocks(const struct resample_pass *pass, double start, double length, int limit,
                        int size, float *one)
{
    for (int b = 0; b < (int)blocks_of(size); b++) {
        float *weights = pass->weights + (size_t)b * pass->stride;
        memset(weights, 0, pass->stride * sizeof *weights);
        struct resample_taps block = {0};
        for (int lane = 0; lane < LANES && b * LANES + lane < size; lane++) {
            const struct resample_taps t =
                make_taps(start, length, limit, size, b * LANES + lane, one);
            if (lane == 0)
                block.first = t.first;
            block.count = t.first + t.count - block.first;
            for (int k = 0; k < t.count; k++)
                weights[(t.first - block.first + k) * LANES + lane] = one[k];
        }
        pass->taps[b] = block;
    }
}

/* Three neighbouring channels of an image: channels first, first + 1, .... The passes compute three
 * at a time; where an image has fewer, the last one is computed again. */
struct resample_source {
    const uint8_t *pixels;
    int width, height;
    struct image_kind kind;
    int first, planes; /* planes: how many of the three the image has */
};

MULTIVERSION
static void to_floats(const uint8_t *restrict bytes, size_t n, float *restrict out)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)bytes[i] * (1 / 255.0f);
}

/* Converts `columns` pixels, from pixel `at` of the source on, to out (columns,3). */
static void load_pixels(const struct resample_source *s, size_t at, size_t columns, float *out)
{
    if (s->kind.channels == 0) {
        to_floats(s->pixels + 3 * at, 3 * columns, out);
        return;
    }
    const size_t channels = (size_t)s->kind.channels;
    for (size_t c = 0; c < 3; c++) {
        const size_t plane = (int)c < s->planes ? c : (size_t)s->planes - 1;
        const size_t from = at * channels + (size_t)s->first + plane;
        const uint16_t *words = (const uint16_t *)(const void *)s->pixels + from;
        const float *floats = (const float *)(const void *)s->pixels + from;
        if (s->kind.depth == 8)
            for (size_t i = 0; i < columns; i++)
                out[3 * i + c] = (float)s->pixels[from + i * channels] * (1 / 255.0f);
        else if (s->kind.depth == 16)
            for (size_t i = 0; i < columns; i++)
                out[3 * i + c] = (float)words[i * channels] * (1 / 65535.0f);
        else
            for (size_t i = 0; i < columns; i++)
                out[3 * i + c] = floats[i * channels];
    }
}

/* Resizes the first `rows` rows of strip (STRIP,columns,3), whose first column is x0, to out
 * (rows,3,padded). It also writes the rows after them, up to a multiple of PAIR. */
MULTIVERSION
static void horizontal(const float *restrict strip, int x0, size_t columns, size_t rows,
                       const struct resample_pass *pass, size_t padded, float *restrict out)
{
    for (size_t b = 0; b < padded / LANES; b++) {
        const struct resample_taps t = pass->taps[b];
        const float *weights = pass->weights + b * pass->stride;
        for (size_t row = 0; row < rows; row += PAIR) {
            const float *in = strip + (row * columns + (size_t)(t.first - x0)) * 3;
            const float *below = row + 1 < rows ? in + 3 * columns : in;
            float sums[2 * 3][LANES] = {{0}};
            for (int k = 0; k < t.count; k++)
#pragma GCC unroll 3
                for (int c = 0; c < 3; c++)
                    for (int lane = 0; lane < LANES; lane++) {
                        sums[c][lane] += in[3 * k + c] * weights[k * LANES + lane];
                        sums[3 + c][lane] += below[3 * k + c] * weights[k * LANES + lane];
                    }
            float *to = out + row * 3 * padded + b * LANES;
            for (size_t i = 0; i < 2 * 3; i++)
                for (int lane = 0; lane < LANES; lane++)
                    to[i * padded + (size_t)lane] = pixels_clamp(sums[i][lane]);
        }
    }
}

/* Computes row y of each plane of out (planes,size,size) from rows (3,padded) of the window. */
MULTIVERSION
static void store_row(const float *restrict row, size_t padded, size_t size, size_t y,
                      size_t planes, float *restrict out)
{
    for (size_t c = 0; c < planes; c++)
        for (size_t x = 0; x < size; x++)
            out[(c * size + y) * size + x] = pixels_clamp(row[c * padded + x]);
}

/* The layout of scratch memory; sizes are in floats and multiples of 16. */
struct resample_layout {
    size_t x_stride, y_stride, one, padded;
    size_t x_taps, y_taps, x_weights, y_weights, strip, window, row, total;
};

static size_t take(size_t *total, size_t floats)
{
    const size_t at = *total;
    *total += (floats + 15) / 16 * 16;
    return at;
}

/* Returns the layout for images of at most that size. */
static struct resample_layout lay_out(int columns, double width, double height, int size)
{
    struct resample_layout l = {.padded = blocks_of(size) * LANES};
    const size_t s = (size_t)size, floats_of_taps = sizeof(struct resample_taps) / sizeof(float);
    l.x_stride = (size_t)max_block_taps(width, size) * LANES;
    l.y_stride = (size_t)max_taps(height, size);
    l.one = take(&l.total, (size_t)max_taps(width, size));
    l.x_taps = take(&l.total, blocks_of(size) * floats_of_taps);
    l.y_taps = take(&l.total, s * floats_of_taps);
    l.x_weights = take(&l.total, blocks_of(size) * l.x_stride);
    l.y_weights = take(&l.total, s * l.y_stride);
    l.strip = take(&l.total, STRIP * 3 * (size_t)columns);
    l.window = take(&l.total, (STRIP + l.y_stride) * 3 * l.padded);
    l.row = take(&l.total, 3 * l.padded);
    return l;
}

size_t resample_scratch(int width, int height, int size)
{
    return lay_out(width, width, height, size).total;
}

/* Resizes up to three channels to out (planes,size,size). */
static void resize_planes(const struct resample_source *s, struct area area, int size, float *out,
                          float *scratch)
{
    const int width = s->width, height = s->height;
    const struct resample_layout l = lay_out(width, area.w, area.h, size);
    const struct resample_pass across = {(struct resample_taps *)(scratch + l.x_taps),
                                         scratch + l.x_weights, l.x_stride};
    const struct resample_pass down = {(struct resample_taps *)(scratch + l.y_taps),
                                       scratch + l.y_weights, l.y_stride};
    make_blocks(&across, area.x, area.w, width, size, scratch + l.one);
    make_rows(&down, area.y, area.h, height, size);

    float *strip = scratch + l.strip, *window = scratch + l.window, *row = scratch + l.row;
    const struct resample_taps *last = &across.taps[blocks_of(size) - 1],
                               *bottom = &down.taps[size - 1];
    const int x0 = across.taps[0].first, end = bottom->first + bottom->count;
    const size_t columns = (size_t)(last->first + last->count - x0), row_floats = 3 * l.padded;
    int top = down.taps[0].first, held = 0; /* the window's first row; rows that it holds */
    for (int y = 0; y < size;) {
        const int from = top + held, rows = end - from < STRIP ? end - from : STRIP;
        for (int i = 0; i < rows; i++)
            load_pixels(s, (size_t)(from + i) * (size_t)width + (size_t)x0, columns,
                        strip + (size_t)i * 3 * columns);
        horizontal(strip, x0, columns, (size_t)rows, &across, l.padded,
                   window + (size_t)held * row_floats);
        held += rows;
        for (; y < size && down.taps[y].first + down.taps[y].count <= top + held; y++) {
            const struct resample_taps t = down.taps[y];
            pixels_weighted_sum(row, row_floats, down.weights + (size_t)y * down.stride, t.count,
                                window + (size_t)(t.first - top) * row_floats, row_floats);
            store_row(row, l.padded, (size_t)size, (size_t)y, (size_t)s->planes, out);
        }
        /* Drop the rows that are no longer needed from the window. */
        const int gone = y < size ? down.taps[y].first - top : held;
        held -= gone;
        memmove(window, window + (size_t)gone * row_floats,
                (size_t)held * row_floats * sizeof *window);
        top += gone;
    }
}

void resample_bicubic(const uint8_t *pixels, struct image_kind kind, int width, int height,
                      struct area area, int size, float *out, float *scratch)
{
    const int channels = image_channels(kind);
    const size_t plane = (size_t)size * (size_t)size;
    for (int first = 0; first < channels; first += 3) {
        const int planes = channels - first < 3 ? channels - first : 3;
        const struct resample_source s = {pixels, width, height, kind, first, planes};
        resize_planes(&s, area, size, out + (size_t)first * plane, scratch);
    }
}

/* ---- operations ---- */

size_t resample_box_scratch(const void *drawn, const struct operation_canvas *canvas)
{
    (void)drawn;
    return resample_scratch(canvas->image->width, canvas->image->height, canvas->size);
}

void resample_box(const void *drawn, const struct operation_canvas *canvas)
{
    const struct box *box = drawn;
    const struct scaled_image *image = canvas->image;
    const int d = image->denominator;
    const double scale = 1.0 / d;
    const struct area area = {box->x * scale, box->y * scale, box->w * scale, box->h * scale};
    resample_bicubic(image->pixels, image->kind, (image->width + d - 1) / d,
                     (image->height + d - 1) / d, area, canvas->size, canvas->x, canvas->scratch);
}

void resample_run(const void *drawn, const struct operation_canvas *canvas)
{
    const struct box *run = drawn;
    const float *values = (const void *)canvas->image->pixels;
    const size_t channels = (size_t)canvas->channels;
    const int size = canvas->size;
    const double step = size > 1 ? (double)(run->w - 1) / (size - 1) : 0;
    float *out = canvas->x;
    for (int i = 0; i < size; i++) {
        const double at = i * step;
        const int left = (int)at < run->w - 1 ? (int)at : run->w - 1;
        const int right = left < run->w - 1 ? left + 1 : left;
        const double share = at - left;
        const float *a = values + (size_t)(run->x + left) * channels;
        const float *b = values + (size_t)(run->x + right) * channels;
        for (size_t c = 0; c < channels; c++)
            *out++ = (float)((1 - share) * (double)a[c] + share * (double)b[c]);
    }
}
