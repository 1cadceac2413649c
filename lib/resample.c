#include "resample.h"

#include <math.h>
#include <string.h>

#include "clones.h"

/* Rows are taken in strips of LANES, laid out so that the horizontal pass, whose taps differ from
 * one output column to the next, does the same to LANES rows of three channels at once. */
enum { LANES = 16, STRIP = 3 * LANES };

/* For one output position: the taps stand at first, first+1, ... of the input. */
struct taps {
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

/* Upper bound of the number of taps when `length` pixels become `size`. */
static int max_taps(int length, int size)
{
    const double scale = fmax((double)length / size, 1);
    return (int)ceil(2 * scale) * 2 + 1;
}

/* Fills taps[size] and weights[size][max_taps(length, size)] for resizing `length` pixels from
 * `start` on, out of `limit`. */
static void make_taps(int start, int length, int limit, int size, struct taps *taps, float *weights)
{
    const double scale = (double)length / size, widening = fmax(scale, 1), support = 2 * widening;
    const int stride = max_taps(length, size);
    for (int i = 0; i < size; i++) {
        const double center = start + (i + 0.5) * scale;
        int first = (int)(center - support + 0.5), end = (int)(center + support + 0.5);
        first = first < 0 ? 0 : first;
        end = end > limit ? limit : end;
        float *w = weights + (size_t)i * (size_t)stride;
        double sum = 0;
        for (int k = first; k < end; k++)
            sum += bicubic((k - center + 0.5) / widening);
        for (int k = first; k < end; k++)
            w[k - first] = (float)(bicubic((k - center + 0.5) / widening) / sum);
        taps[i] = (struct taps){first, end - first};
    }
}

static inline float clamp01(float x)
{
    x = x < 0 ? 0 : x;
    return x > 1 ? 1 : x;
}

/* pixels (rows,width,3) from column x0 on -> strip (columns,3,LANES); lanes past `rows` are zero.
 */
static void load_strip(const uint8_t *pixels, size_t width, int rows, int x0, int columns,
                       float *strip)
{
    if (rows < LANES)
        memset(strip, 0, (size_t)columns * STRIP * sizeof *strip);
    for (int row = 0; row < rows; row++) {
        const uint8_t *from = pixels + ((size_t)row * width + (size_t)x0) * 3;
        float *to = strip + row;
        for (int i = 0; i < 3 * columns; i++)
            to[i * LANES] = (float)from[i] * (1 / 255.0f);
    }
}

/* strip (columns,3,LANES), whose first column is x0 -> mid (3,mid_rows,size), rows y..y+rows-1. */
CLONES
static void horizontal(const float *strip, int x0, const struct taps *taps, const float *weights,
                       int stride, int size, float *mid, size_t plane, int y, int rows)
{
    for (int i = 0; i < size; i++) {
        const float *w = weights + (size_t)i * (size_t)stride;
        const float *in = strip + (size_t)(taps[i].first - x0) * STRIP;
        float sums[STRIP] = {0};
        for (int k = 0; k < taps[i].count; k++)
            for (int lane = 0; lane < STRIP; lane++)
                sums[lane] += w[k] * in[k * STRIP + lane];
        for (int lane = 0; lane < STRIP; lane++)
            sums[lane] = clamp01(sums[lane]);
        for (int c = 0; c < 3; c++) {
            float *to = mid + (size_t)c * plane + (size_t)y * (size_t)size + i;
            for (int row = 0; row < rows; row++)
                to[(size_t)row * (size_t)size] = sums[c * LANES + row];
        }
    }
}

/* mid (mid_rows,size), whose first row is y0 -> out (size,size). */
CLONES
static void vertical(const float *mid, int y0, const struct taps *taps, const float *weights,
                     int stride, int size, float *out)
{
    for (int y = 0; y < size; y++) {
        const float *w = weights + (size_t)y * (size_t)stride;
        const float *in = mid + (size_t)(taps[y].first - y0) * (size_t)size;
        const int count = taps[y].count;
        float *to = out + (size_t)y * (size_t)size;
        int x = 0;
        for (; x + LANES <= size; x += LANES) {
            float sums[LANES] = {0};
            for (int k = 0; k < count; k++)
                for (int lane = 0; lane < LANES; lane++)
                    sums[lane] += w[k] * in[(size_t)k * (size_t)size + (size_t)(x + lane)];
            for (int lane = 0; lane < LANES; lane++)
                to[x + lane] = clamp01(sums[lane]);
        }
        for (; x < size; x++) {
            float sum = 0;
            for (int k = 0; k < count; k++)
                sum += w[k] * in[(size_t)k * (size_t)size + (size_t)x];
            to[x] = clamp01(sum);
        }
    }
}

size_t resample_scratch(int width, int height, int size)
{
    const size_t s = (size_t)size, w = (size_t)width, h = (size_t)height;
    const size_t taps = s * (sizeof(struct taps) / sizeof(float));
    const size_t weights = s * (size_t)max_taps(width, size) + s * (size_t)max_taps(height, size);
    return 2 * taps + weights + w * STRIP + 3 * h * s;
}

void resample_bicubic(const uint8_t *pixels, int width, int height, struct box box, int size,
                      float *out, float *scratch)
{
    const int x_stride = max_taps(box.w, size), y_stride = max_taps(box.h, size);
    struct taps *x_taps = (struct taps *)scratch, *y_taps = x_taps + size;
    float *x_weights = (float *)(y_taps + size);
    float *y_weights = x_weights + (size_t)size * (size_t)x_stride;
    float *strip = y_weights + (size_t)size * (size_t)y_stride;
    make_taps(box.x, box.w, width, size, x_taps, x_weights);
    make_taps(box.y, box.h, height, size, y_taps, y_weights);

    const int x0 = x_taps[0].first, x1 = x_taps[size - 1].first + x_taps[size - 1].count;
    const int y0 = y_taps[0].first, y1 = y_taps[size - 1].first + y_taps[size - 1].count;
    float *mid = strip + (size_t)(x1 - x0) * STRIP;
    const size_t plane = (size_t)(y1 - y0) * (size_t)size;
    for (int y = y0; y < y1; y += LANES) {
        const int rows = y1 - y < LANES ? y1 - y : LANES;
        load_strip(pixels + (size_t)y * (size_t)width * 3, (size_t)width, rows, x0, x1 - x0, strip);
        horizontal(strip, x0, x_taps, x_weights, x_stride, size, mid, plane, y - y0, rows);
    }
    for (int c = 0; c < 3; c++)
        vertical(mid + (size_t)c * plane, y0, y_taps, y_weights, y_stride, size,
                 out + (size_t)c * (size_t)size * (size_t)size);
}
