#include "contact_sheet.h"

#include <errno.h>
#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "atomic_file.h"
#include "fail.h"

enum {
    GAP = 2,     /* pixels between the views of an image */
    MARGIN = 10, /* around a group */
    LEGIBLE = 96,
    PAPER = 0xf4,
    MAX_SIDE = 1 << 16
};
#define MAX_BYTES ((int64_t)1 << 30)

struct layout {
    int64_t images, views, height, width; /* of the tensor; height and width of one tile */
    int64_t scale, columns;               /* columns: groups in a row of the page */
    int64_t group_width, group_height;    /* with their share of the margin */
    int64_t page_width, page_height;
};

static int lay_out(const struct tensor *x, int64_t max_images, struct layout *l)
{
    const int64_t *shape = x->shape;
    bool grouped = x->ndim == 5;
    if ((x->ndim != 4 && !grouped) || shape[x->ndim - 1] != 3 ||
        (x->dtype != DTYPE_U8 && x->dtype != DTYPE_F32))
        return fail("%s: is no batch of images, U8 or F32 [B,V,H,W,3]", x->name);
    *l = (struct layout){.images = shape[0] < max_images ? shape[0] : max_images,
                         .views = grouped ? shape[1] : 1,
                         .height = shape[x->ndim - 3],
                         .width = shape[x->ndim - 2]};
    if (tensor_count(x) == 0)
        return fail("%s: holds no images", x->name);
    if (l->height > MAX_SIDE || l->width > MAX_SIDE || l->views > MAX_SIDE)
        return fail("%s: images are too large to draw", x->name);

    int64_t side = l->height > l->width ? l->height : l->width;
    l->scale = side < LEGIBLE ? (LEGIBLE + side / 2) / side : 1;
    l->group_width = l->views * (l->width * l->scale + GAP) - GAP + MARGIN;
    l->group_height = l->height * l->scale + MARGIN;
    /* Square: columns * group_width = images / columns * group_height. */
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

static void pixel(const struct tensor *x, int64_t index, unsigned char rgb[3])
{
    if (x->dtype == DTYPE_U8) {
        memcpy(rgb, (const unsigned char *)x->data + index, 3);
        return;
    }
    const float *from = (const float *)x->data + index;
    if (isnan(from[0]) || isnan(from[1]) || isnan(from[2])) {
        memcpy(rgb, "\xff\x00\xff", 3);
        return;
    }
    for (int c = 0; c < 3; c++)
        rgb[c] = (unsigned char)lrintf(fminf(fmaxf(from[c], 0), 1) * 255);
}

static void draw_tile(const struct tensor *x, const struct layout *l, int64_t image, int64_t view,
                      unsigned char *page)
{
    int64_t left = MARGIN + image % l->columns * l->group_width;
    int64_t top = MARGIN + image / l->columns * l->group_height;
    left += view * (l->width * l->scale + GAP);
    int64_t from = (image * l->views + view) * l->height * l->width;
    for (int64_t i = 0; i < l->height * l->scale; i++)
        for (int64_t j = 0; j < l->width * l->scale; j++)
            pixel(x, 3 * (from + i / l->scale * l->width + j / l->scale),
                  page + 3 * ((top + i) * l->page_width + left + j));
}

int contact_sheet_write(const struct tensor *x, int64_t max_images, const char *path)
{
    struct layout l = {0};
    if (lay_out(x, max_images, &l))
        return -1;
    size_t bytes = (size_t)(3 * l.page_width * l.page_height);
    unsigned char *page = malloc(bytes);
    struct atomic_file out;
    if (!page)
        return fail("%s: out of memory for %zu bytes", path, bytes);
    if (atomic_open(&out, path)) {
        free(page);
        return -1;
    }
    memset(page, PAPER, bytes);
    for (int64_t b = 0; b < l.images; b++)
        for (int64_t v = 0; v < l.views; v++)
            draw_tile(x, &l, b, v, page);

    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)l.page_width,
                     .height = (png_uint_32)l.page_height,
                     .format = PNG_FORMAT_RGB};
    int written = png_image_write_to_stdio(&png, out.file, 0, page, 0, NULL);
    free(page);
    if (!written) {
        fail("%s: %s", path, png.message);
        atomic_abandon(&out);
        return -1;
    }
    return atomic_commit(&out);
}
