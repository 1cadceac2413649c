#include "report/sprite.h"

#include <math.h>
#include <setjmp.h>
#include <stdio.h> /* before jpeglib.h, which needs it */
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <png.h>

#include "base/fail.h"
#include "report/tiles.h"

enum { JPEG_FROM = 100 * 1000, QUALITY = 85 };
#define MOST_BYTES ((int64_t)128 << 20)

/* ---- tiles ---- */

/* Shrinks a picture: each new pixel is the mean of the area that it covers. */
static void shrink(const unsigned char *from, int64_t width, int64_t height, unsigned char *to,
                   int64_t new_width, int64_t new_height)
{
    const double across = (double)width / (double)new_width;
    const double down = (double)height / (double)new_height;
    for (int64_t i = 0; i < new_height; i++)
        for (int64_t j = 0; j < new_width; j++) {
            const double top = (double)i * down, left = (double)j * across;
            double sum[3] = {0}, area = 0;
            for (int64_t y = (int64_t)top; y < height && (double)y < top + down; y++)
                for (int64_t x = (int64_t)left; x < width && (double)x < left + across; x++) {
                    const double part =
                        (fmin((double)y + 1, top + down) - fmax((double)y, top)) *
                        (fmin((double)x + 1, left + across) - fmax((double)x, left));
                    area += part;
                    for (int c = 0; c < 3; c++)
                        sum[c] += part * from[3 * (y * width + x) + c];
                }
            for (int c = 0; c < 3; c++)
                to[3 * (i * new_width + j) + c] = (unsigned char)lrint(sum[c] / area);
        }
}

/* Sets the size of the sprite's tiles, or checks it. */
static int fit(struct sprite *s, const struct tiles *t)
{
    const int64_t side = t->width > t->height ? t->width : t->height;
    const double scale = s->most && side > s->most ? (double)s->most / (double)side : 1;
    const int64_t width = llround(fmax(1, (double)t->width * scale));
    const int64_t height = llround(fmax(1, (double)t->height * scale));
    if (s->n == 0) {
        s->width = width;
        s->height = height;
        s->views = t->views;
    } else if (s->width != width || s->height != height || s->views != t->views)
        return fail("x: the images change their size");
    return 0;
}

static int reserve(struct sprite *s, int64_t more)
{
    const int64_t tile = 3 * s->width * s->height;
    if (more > MOST_BYTES / tile || s->n + more > MOST_BYTES / tile)
        return fail("x: more images than go on a page");
    if (s->n + more <= s->capacity)
        return 0;
    const int64_t capacity = s->n + more + s->n / 2;
    unsigned char *pixels = realloc(s->pixels, (size_t)(capacity * tile));
    if (!pixels)
        return fail_memory("x");
    s->pixels = pixels;
    s->capacity = capacity;
    return 0;
}

/* Adds the numbers of a frame's images. */
static int add_index(struct sprite *s, const struct frame *f, int64_t images)
{
    const struct tensor *t = frame_find(f, "index");
    if (s->n == 0 && t)
        s->index = json_array();
    if (s->n && !t != !s->index)
        return fail("only some frames have the tensor index");
    if (!t)
        return 0;
    if (!(t = frame_need(f, "index", DTYPE_I64, 1, &images)))
        return -1;
    for (int64_t i = 0; i < images; i++)
        if (json_array_append_new(s->index, json_integer(((const int64_t *)t->data)[i])))
            return fail_memory("index");
    return 0;
}

int sprite_add(struct sprite *s, const struct frame *f)
{
    const struct tensor *x = frame_find(f, "x");
    struct tiles t;
    if (!x)
        return fail("the frame has no tensor 'x' to draw");
    if (tiles_of(x, &t) || fit(s, &t) || reserve(s, t.images * t.views) ||
        add_index(s, f, t.images))
        return -1;
    const size_t bytes = (size_t)(3 * t.width * t.height);
    unsigned char *whole = malloc(bytes);
    if (!whole)
        return fail_memory("x");
    for (int64_t b = 0; b < t.images; b++)
        for (int64_t v = 0; v < t.views; v++, s->n++) {
            unsigned char *to = s->pixels + s->n * 3 * s->width * s->height;
            tiles_draw(&t, b, v, 1, whole, 3 * t.width);
            if (t.width == s->width && t.height == s->height)
                memcpy(to, whole, bytes);
            else
                shrink(whole, t.width, t.height, to, s->width, s->height);
        }
    free(whole);
    return 0;
}

void sprite_free(struct sprite *s)
{
    free(s->pixels);
    json_decref(s->index);
    *s = (struct sprite){0};
}

/* ---- the picture ---- */

struct encoded {
    unsigned char *bytes;
    unsigned long size;
};

static int encode_png(const unsigned char *rgb, int64_t width, int64_t height, struct encoded *e)
{
    png_image png = {.version = PNG_IMAGE_VERSION,
                     .width = (png_uint_32)width,
                     .height = (png_uint_32)height,
                     .format = PNG_FORMAT_RGB};
    png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(png);
    e->bytes = malloc(size);
    if (!e->bytes)
        return fail_memory("a picture");
    if (!png_image_write_to_memory(&png, e->bytes, &size, 0, rgb, 0, NULL)) {
        free(e->bytes);
        return fail("a picture: %s", png.message);
    }
    e->size = size;
    return 0;
}

struct jpeg_failure {
    struct jpeg_error_mgr base; /* first, so that libjpeg's pointer to it is one to this */
    jmp_buf back;
};
static void on_failure(j_common_ptr info)
{
    longjmp(((struct jpeg_failure *)info->err)->back, 1);
}

static int encode_jpeg(const unsigned char *rgb, int64_t width, int64_t height, struct encoded *e)
{
    struct jpeg_compress_struct jpeg;
    struct jpeg_failure failure;
    *e = (struct encoded){0};
    jpeg.err = jpeg_std_error(&failure.base);
    failure.base.error_exit = on_failure;
    if (setjmp(failure.back)) {
        jpeg_destroy_compress(&jpeg);
        free(e->bytes);
        return fail("a picture: libjpeg cannot write it");
    }
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &e->bytes, &e->size);
    jpeg.image_width = (JDIMENSION)width;
    jpeg.image_height = (JDIMENSION)height;
    jpeg.input_components = 3;
    jpeg.in_color_space = JCS_RGB;
    jpeg_set_defaults(&jpeg);
    jpeg_set_quality(&jpeg, QUALITY, TRUE);
    jpeg.comp_info[0].h_samp_factor = 1; /* colours as fine as brightness: tiles are small */
    jpeg.comp_info[0].v_samp_factor = 1;
    jpeg_start_compress(&jpeg, TRUE);
    while (jpeg.next_scanline < jpeg.image_height) {
        JSAMPROW row = (JSAMPROW)(rgb + 3 * width * (int64_t)jpeg.next_scanline);
        jpeg_write_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    return 0;
}

/* Returns a data URI of the bytes (RFC 2397), which the caller frees, or NULL. */
static char *data_uri(const char *type, const unsigned char *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char *text = malloc(64 + (size + 2) / 3 * 4);
    if (!text)
        return fail_null("out of memory for a picture");
    char *to = text + sprintf(text, "data:image/%s;base64,", type);
    for (size_t i = 0; i < size; i += 3) {
        const size_t left = size - i;
        const unsigned group = (unsigned)bytes[i] << 16 |
                               (left > 1 ? (unsigned)bytes[i + 1] << 8 : 0) |
                               (left > 2 ? bytes[i + 2] : 0);
        *to++ = digits[group >> 18];
        *to++ = digits[group >> 12 & 63];
        *to++ = left > 1 ? digits[group >> 6 & 63] : '=';
        *to++ = left > 2 ? digits[group & 63] : '=';
    }
    *to = 0;
    return text;
}

static char *encode(const unsigned char *rgb, int64_t width, int64_t height)
{
    struct encoded png = {0}, jpeg = {0};
    if (encode_png(rgb, width, height, &png))
        return NULL;
    if (png.size > JPEG_FROM && encode_jpeg(rgb, width, height, &jpeg)) {
        free(png.bytes);
        return NULL;
    }
    const bool smaller = jpeg.bytes && jpeg.size < png.size;
    char *uri =
        smaller ? data_uri("jpeg", jpeg.bytes, jpeg.size) : data_uri("png", png.bytes, png.size);
    free(jpeg.bytes);
    free(png.bytes);
    return uri;
}

json_t *sprite_json(const struct sprite *s)
{
    if (s->n == 0)
        return fail_null("the stream holds no images");
    int64_t columns = llround(ceil(sqrt((double)(s->n * s->height) / (double)s->width)));
    columns = columns < 1 ? 1 : columns > s->n ? s->n : columns;
    const int64_t rows = (s->n - 1) / columns + 1, width = columns * s->width;
    if (width > JPEG_MAX_DIMENSION || rows * s->height > JPEG_MAX_DIMENSION)
        return fail_null("x: more images than go on a page");
    unsigned char *rgb = calloc((size_t)(rows * s->height), (size_t)(3 * width));
    if (!rgb)
        return fail_null("out of memory for a picture");
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t y = 0; y < s->height; y++)
            memcpy(rgb + 3 * ((i / columns * s->height + y) * width + i % columns * s->width),
                   s->pixels + 3 * (i * s->height + y) * s->width, (size_t)(3 * s->width));
    char *uri = encode(rgb, width, rows * s->height);
    free(rgb);
    if (!uri)
        return NULL;
    json_t *result =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:s}", "width", (json_int_t)s->width, "height",
                  (json_int_t)s->height, "columns", (json_int_t)columns, "count", (json_int_t)s->n,
                  "views", (json_int_t)s->views, "src", uri);
    free(uri);
    if (result && s->index)
        json_object_set(result, "index", s->index);
    return result ? result : fail_null("out of memory for a picture");
}
