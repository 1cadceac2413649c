#include "report/contact_sheet.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/flush.h"

enum {
    GAP = 2,        /* pixels between the views of an image */
    MARGIN = 10,    /* pixels around a group */
    LEGIBLE = 96,   /* smaller images are enlarged to about this many pixels */
    MAX_PLOT = 512, /* the largest width of a plot, in pixels */
    PAPER = 0xf4,   /* the page's grey */
    MAX_SIDE = 1 << 16
};
#define MAX_BYTES ((int64_t)1 << 30)

struct page {
    bool series;                          /* the tiles are plots */
    int64_t images, views, height, width; /* tiles: [images,views], each of height x width */
    int64_t channels;
    int64_t scale, columns;            /* enlargement factor; groups in a row of the page */
    int64_t group_width, group_height; /* in pixels, with the margin */
    int64_t page_width, page_height;
};

static int lay_out(const struct tensor *x, int64_t max_images, struct page *l)
{
    const int64_t *shape = x->shape;
    bool grouped = x->ndim == 5, series = grouped && shape[2] == 1 && x->dtype == DTYPE_F32;
    if ((x->ndim != 4 && !grouped) || (x->dtype != DTYPE_U8 && x->dtype != DTYPE_F32))
        return fail("%s: is no batch of images, U8 or F32 [B,V,H,W,C], or series, F32 [B,V,1,T,C]",
                    x->name);
    *l = (struct page){.series = series,
                       .images = shape[0] < max_images ? shape[0] : max_images,
                       .views = grouped ? shape[1] : 1,
                       .height = shape[x->ndim - 3],
                       .width = shape[x->ndim - 2],
                       .channels = shape[x->ndim - 1]};
    if (tensor_count(x) == 0)
        return fail("%s: holds no images", x->name);
    if (l->height > MAX_SIDE || l->width > MAX_SIDE || l->views > MAX_SIDE)
        return fail("%s: images are too large to draw", x->name);

    if (series) {
        l->width = l->width < MAX_PLOT ? l->width : MAX_PLOT;
        l->width *= l->width < LEGIBLE ? (LEGIBLE + l->width - 1) / l->width : 1;
        l->height = LEGIBLE;
    }
    int64_t side = l->height > l->width ? l->height : l->width;
    l->scale = side < LEGIBLE ? (LEGIBLE + side / 2) / side : 1;
    l->group_width = l->views * (l->width * l->scale + GAP) - GAP + MARGIN;
    l->group_height = l->height * l->scale + MARGIN;
    /* The page is square if columns * group_width = images / columns * group_height. */
    double columns = sqrt((double)l->images * (double)l->group_height / (double)l->group_width);
    l->columns = columns < 1 ? 1 : llround(columns);
    if (l->columns > l->images)
        l->columns = l->images;
    l->page_width = MARGIN + l->columns * l->group_width;
    int64_t rows = (l->images - 1) / l->columns + 1, bytes;
    if (__builtin_mul_overflow(rows, l->group_height, &l->page_height) ||
        __builtin_add_overflow(l->page_height, MARGIN, &l->page_height) ||
        __builtin_mul_overflow(l->page_height, l->page_width, &bytes) || bytes > MAX_BYTES / 3 ||
        l->page_width >= INT32_MAX || l->page_height >= INT32_MAX)
        return fail("%s: the page would be %lld pixels wide: draw fewer images", x->name,
                    (long long)l->page_width);
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

static void draw_tile(const struct tensor *x, const struct page *l, int64_t image, int64_t view,
                      unsigned char *page)
{
    int64_t left = MARGIN + image % l->columns * l->group_width;
    int64_t top = MARGIN + image / l->columns * l->group_height;
    left += view * (l->width * l->scale + GAP);
    int64_t from = (image * l->views + view) * l->height * l->width;
    for (int64_t i = 0; i < l->height * l->scale; i++)
        for (int64_t j = 0; j < l->width * l->scale; j++)
            pixel(x, l->channels * (from + i / l->scale * l->width + j / l->scale),
                  l->channels >= 3, page + 3 * ((top + i) * l->page_width + left + j));
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
    return llround((1 - share) * (LEGIBLE - 7)) + 3;
}

/* Fills a pixel column of a plot with the rows that the line has between steps `from` and `to`. */
static void draw_column(const float *series, int64_t channels, double from, double to, float low,
                        float high, const unsigned char color[3], unsigned char *column,
                        int64_t pitch)
{
    int64_t top = LEGIBLE, bottom = -1;
    const int64_t last = (int64_t)ceil(to);
    for (int64_t t = (int64_t)from; t <= last; t++) {
        /* This is the point of the line that is nearest to step t within the column. */
        const double at = fmin(fmax((double)t, from), to), left = floor(at);
        const float a = series[(int64_t)left * channels], b = series[(int64_t)ceil(at) * channels];
        const float value = (float)((double)a + (at - left) * ((double)b - (double)a));
        if (!isfinite(value)) {
            for (int64_t i = 0; i < LEGIBLE; i++)
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

static void draw_plot(const struct tensor *x, const struct page *l, int64_t image, int64_t view,
                      unsigned char *page)
{
    static const unsigned char colors[][3] = {
        {0x1f, 0x5f, 0xa8}, {0xc8, 0x50, 0x20}, {0x2a, 0x8a, 0x4a}, {0x80, 0x50, 0xa0}};
    const int64_t steps = x->shape[3], channels = x->shape[4], each = steps * channels;
    const float *group = (const float *)x->data + image * l->views * each;
    float low, high;
    find_range(group, l->views * each, &low, &high);
    const int64_t left =
        MARGIN + image % l->columns * l->group_width + view * (l->width * l->scale + GAP);
    const int64_t top = MARGIN + image / l->columns * l->group_height, pitch = 3 * l->page_width;
    unsigned char *corner = page + top * pitch + 3 * left;
    for (int64_t i = 0; i < LEGIBLE; i++)
        memset(corner + i * pitch, 0xff, (size_t)(3 * l->width));
    const double step = (double)(steps - 1) / (double)l->width;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t j = 0; j < l->width; j++)
            draw_column(group + view * each + c, channels, (double)j * step,
                        fmin((double)(j + 1) * step, (double)(steps - 1)), low, high, colors[c % 4],
                        corner + 3 * j, pitch);
}

const char *contact_sheet_note(const struct tensor *x)
{
    const int64_t channels = x->ndim ? x->shape[x->ndim - 1] : 0;
    if (x->ndim == 5 && x->shape[2] == 1 && x->dtype == DTYPE_F32)
        return NULL;
    return channels > 3    ? "the first three channels are drawn, as red, green and blue"
           : channels == 2 ? "the first of two channels is drawn, as grey"
                           : NULL;
}

int contact_sheet_write(const struct tensor *x, int64_t max_images, const char *path)
{
    struct page l = {0};
    if (lay_out(x, max_images, &l))
        return -1;
    size_t bytes = (size_t)(3 * l.page_width * l.page_height);
    unsigned char *page = malloc(bytes);
    struct atomic_file out;
    if (!page)
        return fail("%s: out of memory for %zu bytes", path, bytes);
    if (atomic_file_open(&out, path)) {
        free(page);
        return -1;
    }
    memset(page, PAPER, bytes);
    for (int64_t b = 0; b < l.images; b++)
        for (int64_t v = 0; v < l.views; v++)
            (l.series ? draw_plot : draw_tile)(x, &l, b, v, page);

    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)l.page_width,
                     .height = (png_uint_32)l.page_height,
                     .format = PNG_FORMAT_RGB};
    int drawn = png_image_write_to_stdio(&png, out.file, 0, page, 0, NULL);
    free(page);
    if (!drawn) {
        if (!flush_file(out.file, path))
            fail("%s: %s", path, png.message);
        atomic_file_abandon(&out);
        return -1;
    }
    return atomic_file_commit(&out);
}
