#include "report/tiles.h"

#include <math.h>
#include <string.h>

#include "base/fail.h"

enum {
    PLOT = 96,      /* height and least width of a plot, in pixels */
    MAX_PLOT = 512, /* the largest width of a plot */
    MAX_SIDE = 1 << 16
};

int tiles_of(const struct tensor *x, struct tiles *tiles)
{
    const int64_t *shape = x->shape;
    const bool grouped = x->ndim == 5, series = grouped && shape[2] == 1 && x->dtype == DTYPE_F32;
    if ((x->ndim != 4 && !grouped) || (x->dtype != DTYPE_U8 && x->dtype != DTYPE_F32))
        return fail("%s: is no batch of images, U8 or F32 [B,V,H,W,C], or series, F32 [B,V,1,T,C]",
                    x->name);
    *tiles = (struct tiles){.x = x,
                            .series = series,
                            .images = shape[0],
                            .views = grouped ? shape[1] : 1,
                            .height = shape[x->ndim - 3],
                            .width = shape[x->ndim - 2],
                            .channels = shape[x->ndim - 1]};
    if (tensor_count(x) == 0)
        return fail("%s: holds no images", x->name);
    if (tiles->height > MAX_SIDE || tiles->width > MAX_SIDE || tiles->views > MAX_SIDE)
        return fail("%s: images are too large to draw", x->name);
    if (series) {
        const int64_t width = tiles->width < MAX_PLOT ? tiles->width : MAX_PLOT;
        tiles->width = width < PLOT ? width * ((PLOT + width - 1) / width) : width;
        tiles->height = PLOT;
    }
    return 0;
}

/* Draws the pixel whose first value is at `index`, and whose next values are at index + step and
 * index + 2 step: step is 1 for colours, 0 for grey. */
static void pixel(const struct tensor *x, int64_t index, int64_t step, unsigned char rgb[3])
{
    if (x->dtype == DTYPE_U8) {
        for (int c = 0; c < 3; c++)
            rgb[c] = ((const unsigned char *)x->data)[index + c * step];
        return;
    }
    const float *from = (const float *)x->data + index;
    if (isnan(from[0]) || isnan(from[step]) || isnan(from[2 * step])) {
        memcpy(rgb, "\xff\x00\xff", 3);
        return;
    }
    for (int c = 0; c < 3; c++)
        rgb[c] = (unsigned char)lrintf(fminf(fmaxf(from[c * step], 0), 1) * 255);
}

static void draw_image(const struct tiles *t, int64_t image, int64_t view, int64_t scale,
                       unsigned char *corner, int64_t pitch)
{
    const int64_t from = (image * t->views + view) * t->height * t->width;
    for (int64_t i = 0; i < t->height * scale; i++)
        for (int64_t j = 0; j < t->width * scale; j++)
            pixel(t->x, t->channels * (from + i / scale * t->width + j / scale), t->channels >= 3,
                  corner + i * pitch + 3 * j);
}

/* Finds the smallest and the largest finite value of a group. */
static void find_range(const float *values, int64_t n, float *low, float *high)
{
    *low = INFINITY;
    *high = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(values[i])) {
            *low = fminf(*low, values[i]);
            *high = fmaxf(*high, values[i]);
        }
    if (!(*low < *high)) { /* a flat line is drawn in the middle */
        *high = (isfinite(*low) ? *low : 0) + 1;
        *low = *high - 2;
    }
}

/* Returns the row of a plot for a value, with a margin above and below. */
static int64_t row_of(float value, float low, float high)
{
    const double share = ((double)value - (double)low) / ((double)high - (double)low);
    return llround((1 - share) * (PLOT - 7)) + 3;
}

/* Fills a pixel column of a plot with the rows that the line has between steps `from` and `to`. */
static void draw_column(const float *series, int64_t channels, double from, double to, float low,
                        float high, const unsigned char color[3], unsigned char *column,
                        int64_t pitch)
{
    int64_t top = PLOT, bottom = -1;
    const int64_t last = (int64_t)ceil(to);
    for (int64_t t = (int64_t)from; t <= last; t++) {
        /* This is the point of the line that is nearest to step t within the column. */
        const double at = fmin(fmax((double)t, from), to), left = floor(at);
        const float a = series[(int64_t)left * channels], b = series[(int64_t)ceil(at) * channels];
        const float value = (float)((double)a + (at - left) * ((double)b - (double)a));
        if (!isfinite(value)) {
            for (int64_t i = 0; i < PLOT; i++)
                memcpy(column + i * pitch, "\xff\x00\xff", 3);
            return;
        }
        const int64_t row = row_of(value, low, high);
        top = row < top ? row : top;
        bottom = row > bottom ? row : bottom;
    }
    for (int64_t i = top; i <= bottom; i++)
        memcpy(column + i * pitch, color, 3);
}

static void draw_plot(const struct tiles *t, int64_t image, int64_t view, unsigned char *corner,
                      int64_t pitch)
{
    static const unsigned char colors[][3] = {
        {0x1f, 0x5f, 0xa8}, {0xc8, 0x50, 0x20}, {0x2a, 0x8a, 0x4a}, {0x80, 0x50, 0xa0}};
    const int64_t steps = t->x->shape[3], channels = t->channels, each = steps * channels;
    const float *group = (const float *)t->x->data + image * t->views * each;
    float low, high;
    find_range(group, t->views * each, &low, &high);
    for (int64_t i = 0; i < PLOT; i++)
        memset(corner + i * pitch, 0xff, (size_t)(3 * t->width));
    const double step = (double)(steps - 1) / (double)t->width;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t j = 0; j < t->width; j++)
            draw_column(group + view * each + c, channels, (double)j * step,
                        fmin((double)(j + 1) * step, (double)(steps - 1)), low, high, colors[c % 4],
                        corner + 3 * j, pitch);
}

void tiles_draw(const struct tiles *tiles, int64_t image, int64_t view, int64_t scale,
                unsigned char *corner, int64_t pitch)
{
    if (tiles->series)
        draw_plot(tiles, image, view, corner, pitch);
    else
        draw_image(tiles, image, view, scale, corner, pitch);
}
