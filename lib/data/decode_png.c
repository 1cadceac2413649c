/* png: PNG files, by libpng. It checks the checksums of all data that it reads. */
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/decode_format.h"

struct png_state {
    const struct sample *sample;
    jmp_buf failed;
    char defect[200];
    png_structp png;
    png_infop info;
    size_t read; /* bytes of the sample read so far */
    png_bytep *rows;
    size_t n_rows;
};

static void on_error(png_structp png, png_const_charp text)
{
    struct png_state *p = png_get_error_ptr(png);
    snprintf(p->defect, sizeof p->defect, "%s", text);
    longjmp(p->failed, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text; /* for example about an odd colour profile; the pixels are correct */
}

static void read_bytes(png_structp png, png_bytep to, size_t size)
{
    struct png_state *p = png_get_io_ptr(png);
    if (size > p->sample->size - p->read)
        png_error(png, "truncated");
    memcpy(to, p->sample->bytes + p->read, size);
    p->read += size;
}

static bool recognize(const uint8_t *bytes, size_t size)
{
    return size >= 8 && png_sig_cmp(bytes, 0, 8) == 0;
}

static void *make_state(void)
{
    struct png_state *p = calloc(1, sizeof *p);
    if (!p)
        fail_memory("PNG");
    return p;
}

static void end(void *state)
{
    struct png_state *p = state;
    png_destroy_read_struct(&p->png, &p->info, NULL);
}

static void free_state(void *state)
{
    struct png_state *p = state;
    free(p->rows);
    free(p);
}

/* Returns what DECODE_RAW gives. */
static struct image_kind kind_of(const struct png_state *p)
{
    const int depth = png_get_bit_depth(p->png, p->info) == 16 ? 16 : 8;
    switch (png_get_color_type(p->png, p->info)) {
    case PNG_COLOR_TYPE_GRAY:
        return (struct image_kind){1, depth};
    case PNG_COLOR_TYPE_GRAY_ALPHA:
        return (struct image_kind){2, depth};
    case PNG_COLOR_TYPE_RGB_ALPHA:
        return (struct image_kind){4, depth};
    default:
        return (struct image_kind){3, depth};
    }
}

static int start(void *state, const struct sample *s, bool orient, struct decode_found *found)
{
    struct png_state *p = state;
    (void)orient;
    p->sample = s;
    p->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, p, on_error, on_warning);
    p->info = p->png ? png_create_info_struct(p->png) : NULL;
    if (!p->info)
        return sample_fail(s, "out of memory");
    if (setjmp(p->failed))
        return sample_fail(s, "damaged PNG: %s", p->defect);
    png_set_user_limits(p->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX); /* decode.c checks the size */
    p->read = 0;
    png_set_read_fn(p->png, p, read_bytes);
    png_read_info(p->png, p->info);
    found->width = png_get_image_width(p->png, p->info);
    found->height = png_get_image_height(p->png, p->info);
    found->kind = kind_of(p);
    return 0;
}

static int point_at_rows(struct png_state *p, struct image *image)
{
    const size_t n = (size_t)image->height, row = png_get_rowbytes(p->png, p->info);
    if (n > p->n_rows) {
        free(p->rows);
        p->rows = malloc(n * sizeof *p->rows);
        p->n_rows = p->rows ? n : 0;
        if (!p->rows)
            return sample_fail(p->sample, "out of memory");
    }
    for (size_t y = 0; y < n; y++)
        p->rows[y] = image->buffer + y * row;
    return 0;
}

/* Sets the colours that a palette lacks to grey, as PIL does; libpng makes them black. */
static void fill_palette(struct png_state *p)
{
    png_color full[PNG_MAX_PALETTE_LENGTH], *given;
    int n = 0;
    if (png_get_color_type(p->png, p->info) != PNG_COLOR_TYPE_PALETTE ||
        !png_get_PLTE(p->png, p->info, &given, &n))
        return;
    const int all = 1 << png_get_bit_depth(p->png, p->info);
    for (int i = 0; i < all; i++)
        full[i] = i < n ? given[i] : (png_color){(png_byte)i, (png_byte)i, (png_byte)i};
    if (n < all)
        png_set_PLTE(p->png, p->info, full, all);
}

static void transform(struct png_state *p, enum decode_pixels pixels)
{
    fill_palette(p);
    png_set_palette_to_rgb(p->png);
    if (png_get_bit_depth(p->png, p->info) < 8)
        png_set_expand_gray_1_2_4_to_8(p->png);
    if (pixels == DECODE_RGB) {
        png_set_gray_to_rgb(p->png);
        png_set_strip_16(p->png);
        png_set_strip_alpha(p->png);
    } else {
        if (!(png_get_color_type(p->png, p->info) & PNG_COLOR_MASK_ALPHA))
            png_set_strip_alpha(p->png); /* the one that tRNS adds */
        if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
            png_set_swap(p->png);
    }
    png_set_interlace_handling(p->png);
    png_read_update_info(p->png, p->info);
}

static int finish(void *state, enum decode_pixels pixels, int denominator, struct image *image)
{
    struct png_state *p = state;
    (void)denominator;
    if (setjmp(p->failed))
        return sample_fail(p->sample, "damaged PNG: %s", p->defect);
    transform(p, pixels);
    if (png_get_rowbytes(p->png, p->info) != image_pixel_bytes(image->kind) * (size_t)image->width)
        return sample_fail(p->sample, "an unknown kind of PNG");
    if (point_at_rows(p, image))
        return -1;
    png_read_image(p->png, p->rows); /* checks the checksums of the data that it reads */
    return 0;
}

const struct decode_format decode_png = {.name = "PNG",
                                         .endings = ".png",
                                         .recognize = recognize,
                                         .make = make_state,
                                         .free = free_state,
                                         .start = start,
                                         .finish = finish,
                                         .end = end};
