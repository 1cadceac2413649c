#include "report/contact_sheet.h"

#include <math.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/flush.h"
#include "report/tiles.h"

enum {
    GAP = 2,      /* pixels between the views of an image */
    MARGIN = 10,  /* pixels around a group */
    LEGIBLE = 96, /* smaller images are enlarged to about this many pixels */
    PAPER = 0xf4  /* the page's grey */
};
#define MAX_BYTES ((int64_t)1 << 30)

struct page {
    struct tiles tiles;
    int64_t images;                    /* that are drawn */
    int64_t width, height;             /* of a tile on the page, in pixels */
    int64_t columns;                   /* groups in a row of the page */
    int64_t group_width, group_height; /* in pixels, with the margin */
    int64_t page_width, page_height;
};

static int lay_out(const struct tensor *x, int64_t max_images, struct page *l)
{
    *l = (struct page){0};
    if (tiles_of(x, &l->tiles))
        return -1;
    l->images = l->tiles.images < max_images ? l->tiles.images : max_images;
    const int64_t width = l->tiles.width, height = l->tiles.height;
    const int64_t side = height > width ? height : width;
    const int64_t scale = side < LEGIBLE ? (LEGIBLE + side / 2) / side : 1;
    l->width = width * scale;
    l->height = height * scale;
    l->group_width = l->tiles.views * (l->width + GAP) - GAP + MARGIN;
    l->group_height = l->height + MARGIN;
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
        for (int64_t v = 0; v < l.tiles.views; v++) {
            const int64_t left = MARGIN + b % l.columns * l.group_width + v * (l.width + GAP);
            const int64_t top = MARGIN + b / l.columns * l.group_height;
            tiles_draw(&l.tiles, b, v, l.width / l.tiles.width,
                       page + 3 * (top * l.page_width + left), 3 * l.page_width);
        }

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
