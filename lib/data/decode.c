#include "data/decode.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h> /* before jpeglib.h, which uses it */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <jerror.h>
#include <jpeglib.h>
#include <libexif/exif-data.h>

#include "base/fail.h"
#include "data/image.h"

/* More scans than any camera or encoder writes. Each scan costs a pass over all coefficients. */
enum { MAX_SCANS = 200 };

struct decoder {
    const struct sample *sample;
    enum { NONE, PNG, JPEG } kind;
    int orientation; /* the EXIF orientation, 1 to 8; 1: the picture is upright */
    jmp_buf failed;
    char defect[JMSG_LENGTH_MAX];
    /* For PNG. */
    png_structp png;
    png_infop info;
    size_t read; /* bytes of the sample read so far */
    png_bytep *rows;
    size_t n_rows;
    /* For JPEG. */
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    struct image unturned;
};

/* ---- PNG ---- */

static void on_png_error(png_structp png, png_const_charp text)
{
    struct decoder *d = png_get_error_ptr(png);
    snprintf(d->defect, sizeof d->defect, "%s", text);
    longjmp(d->failed, 1);
}

static void on_png_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text; /* for example about an odd colour profile; the pixels are correct */
}

static void read_png(png_structp png, png_bytep to, size_t size)
{
    struct decoder *d = png_get_io_ptr(png);
    if (size > d->sample->size - d->read)
        png_error(png, "truncated");
    memcpy(to, d->sample->bytes + d->read, size);
    d->read += size;
}

static void end_png(struct decoder *d)
{
    png_destroy_read_struct(&d->png, &d->info, NULL);
}

static int start_png(struct decoder *d, int *width, int *height)
{
    d->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, d, on_png_error, on_png_warning);
    d->info = d->png ? png_create_info_struct(d->png) : NULL;
    if (!d->info)
        return sample_fail(d->sample, "out of memory");
    if (setjmp(d->failed))
        return sample_fail(d->sample, "damaged PNG: %s", d->defect);
    png_set_user_limits(d->png, PNG_UINT_31_MAX,
                        PNG_UINT_31_MAX); /* image_check() checks the size */
    d->read = 0;
    png_set_read_fn(d->png, d, read_png);
    png_read_info(d->png, d->info);
    *width = (int)png_get_image_width(d->png, d->info);
    *height = (int)png_get_image_height(d->png, d->info);
    return 0;
}

static int point_at_rows(struct decoder *d, struct image *image)
{
    const size_t n = (size_t)image->height;
    if (n > d->n_rows) {
        free(d->rows);
        d->rows = malloc(n * sizeof *d->rows);
        d->n_rows = d->rows ? n : 0;
        if (!d->rows)
            return sample_fail(d->sample, "out of memory");
    }
    for (size_t y = 0; y < n; y++)
        d->rows[y] = image->buffer + y * 3 * (size_t)image->width;
    return 0;
}

/* Sets the colours that a palette lacks to grey, as PIL does; libpng makes them black. */
static void fill_palette(struct decoder *d)
{
    png_color full[PNG_MAX_PALETTE_LENGTH], *given;
    int n = 0;
    if (png_get_color_type(d->png, d->info) != PNG_COLOR_TYPE_PALETTE ||
        !png_get_PLTE(d->png, d->info, &given, &n))
        return;
    const int all = 1 << png_get_bit_depth(d->png, d->info);
    for (int i = 0; i < all; i++)
        full[i] = i < n ? given[i] : (png_color){(png_byte)i, (png_byte)i, (png_byte)i};
    if (n < all)
        png_set_PLTE(d->png, d->info, full, all);
}

static int finish_png(struct decoder *d, struct image *image)
{
    if (point_at_rows(d, image))
        return -1;
    if (setjmp(d->failed))
        return sample_fail(d->sample, "damaged PNG: %s", d->defect);
    fill_palette(d);
    png_set_palette_to_rgb(d->png);
    if (png_get_bit_depth(d->png, d->info) < 8)
        png_set_expand_gray_1_2_4_to_8(d->png);
    png_set_gray_to_rgb(d->png);
    png_set_strip_16(d->png);
    png_set_strip_alpha(d->png);
    png_set_interlace_handling(d->png);
    png_read_update_info(d->png, d->info);
    if (png_get_rowbytes(d->png, d->info) != 3 * (size_t)image->width)
        return sample_fail(d->sample, "an unknown kind of PNG");
    png_read_image(d->png, d->rows); /* checks the checksums of the data that it reads */
    return 0;
}

/* ---- JPEG ---- */

static void on_jpeg_error(j_common_ptr jpeg)
{
    struct decoder *d = jpeg->client_data;
    jpeg->err->format_message(jpeg, d->defect);
    longjmp(d->failed, 1);
}

/* Treats a file that ends too soon as an error. libjpeg goes on after any damage, with grey where
 * bytes are missing. */
static void on_jpeg_message(j_common_ptr jpeg, int level)
{
    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF)
        on_jpeg_error(jpeg);
}

/* Ends the decoding of a file with too many scans. */
static void on_jpeg_progress(j_common_ptr jpeg)
{
    struct decoder *d = jpeg->client_data;
    if (d->jpeg.input_scan_number <= MAX_SCANS)
        return;
    snprintf(d->defect, sizeof d->defect, "more than %d scans", MAX_SCANS);
    longjmp(d->failed, 1);
}

static int make_jpeg(struct decoder *d)
{
    d->jpeg.err = jpeg_std_error(&d->errors);
    d->errors.error_exit = on_jpeg_error;
    d->errors.emit_message = on_jpeg_message;
    d->jpeg.client_data = d;
    if (setjmp(d->failed))
        return fail("libjpeg: %s", d->defect);
    jpeg_create_decompress(&d->jpeg);
    d->progress.progress_monitor = on_jpeg_progress;
    d->jpeg.progress = &d->progress;
    return 0;
}

static int find_orientation(const struct decoder *d)
{
    for (jpeg_saved_marker_ptr m = d->jpeg.marker_list; m; m = m->next) {
        if (m->marker != JPEG_APP0 + 1)
            continue;
        ExifData *exif = exif_data_new_from_data(m->data, m->data_length);
        const ExifEntry *entry = exif ? exif_data_get_entry(exif, EXIF_TAG_ORIENTATION) : NULL;
        int value = 1;
        if (entry && entry->format == EXIF_FORMAT_SHORT && entry->size >= 2)
            value = exif_get_short(entry->data, exif_data_get_byte_order(exif));
        if (exif)
            exif_data_unref(exif);
        if (value >= 2 && value <= 8)
            return value;
    }
    return 1;
}

static int start_jpeg(struct decoder *d, bool orient, int *width, int *height)
{
    if (setjmp(d->failed)) {
        if (d->jpeg.err->msg_code != JERR_IMAGE_TOO_BIG)
            return sample_fail(d->sample, "damaged JPEG: %s", d->defect);
        *width = (int)d->jpeg.image_width;
        *height = (int)d->jpeg.image_height;
        return 0; /* image_check() refuses this size */
    }
    jpeg_mem_src(&d->jpeg, d->sample->bytes, (unsigned long)d->sample->size);
    jpeg_save_markers(&d->jpeg, JPEG_APP0 + 1, orient ? 0xffff : 0);
    jpeg_read_header(&d->jpeg, TRUE);
    d->orientation = orient ? find_orientation(d) : 1;
    const bool aside = d->orientation >= 5;
    *width = (int)(aside ? d->jpeg.image_height : d->jpeg.image_width);
    *height = (int)(aside ? d->jpeg.image_width : d->jpeg.image_height);
    return 0;
}

/* Returns a x b / 255, rounded. */
static inline int product255(int a, int b)
{
    const int t = a * b + 128;
    return (t + (t >> 8)) >> 8;
}

/* Converts CMYK (n,4), inverted as Adobe writes it, to RGB (n,3) as PIL does, without any colour
 * profile. The buffers may overlap if rgb does not start after cmyk. */
static void rgb_of_cmyk(const uint8_t *cmyk, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; i < n; i++) {
        const int light = cmyk[4 * i + 3];
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(light - product255(255 - cmyk[4 * i + c], light));
    }
}

/* Turns pixels (h,w,3) according to EXIF's orientation 2..8, which mirrors left and right, mirrors
 * top and bottom, and swaps the axes. */
static void turn(const struct image *from, int orientation, struct image *to)
{
    const bool mirrored = orientation / 2 % 2;      /* 2, 3, 6, 7 */
    const bool flipped = (orientation - 1) / 2 % 2; /* 3, 4, 7, 8 */
    const bool aside = orientation >= 5;
    uint8_t *out = to->buffer;
    for (int y = 0; y < to->height; y++)
        for (int x = 0; x < to->width; x++, out += 3) {
            const int u = mirrored ? to->width - 1 - x : x, v = flipped ? to->height - 1 - y : y;
            const int row = aside ? u : v, column = aside ? v : u;
            memcpy(out, from->buffer + ((size_t)row * (size_t)from->width + (size_t)column) * 3, 3);
        }
}

static int decompress(struct decoder *d, struct image *image)
{
    const bool cmyk = d->jpeg.out_color_space == JCS_CMYK;
    uint8_t *line = NULL;
    if (cmyk) /* in libjpeg's memory, which jpeg_abort_decompress() frees */
        line = d->jpeg.mem->alloc_large((j_common_ptr)&d->jpeg, JPOOL_IMAGE,
                                        4 * (size_t)d->jpeg.output_width);
    while (d->jpeg.output_scanline < d->jpeg.output_height) {
        uint8_t *to = image->buffer + (size_t)d->jpeg.output_scanline * 3 * (size_t)image->width;
        uint8_t *row = cmyk ? line : to;
        jpeg_read_scanlines(&d->jpeg, &row, 1);
        if (cmyk)
            rgb_of_cmyk(line, (size_t)image->width, to);
    }
    jpeg_finish_decompress(&d->jpeg);
    return 0;
}

static int finish_jpeg(struct decoder *d, int denominator, struct image *image)
{
    if (setjmp(d->failed))
        return sample_fail(d->sample, "damaged JPEG: %s", d->defect);
    const J_COLOR_SPACE kind = d->jpeg.jpeg_color_space;
    d->jpeg.out_color_space = kind == JCS_CMYK || kind == JCS_YCCK ? JCS_CMYK : JCS_RGB;
    d->jpeg.scale_num = 1;
    d->jpeg.scale_denom = (unsigned int)denominator;
    jpeg_start_decompress(&d->jpeg);
    const int64_t width = d->jpeg.output_width, height = d->jpeg.output_height;
    const bool aside = d->orientation >= 5;
    struct image *straight = d->orientation == 1 ? image : &d->unturned;
    if (image_resize(image, aside ? height : width, aside ? width : height, d->sample->file) ||
        image_resize(straight, width, height, d->sample->file))
        return -1;
    if (decompress(d, straight))
        return -1;
    if (straight != image)
        turn(straight, d->orientation, image);
    return 0;
}

/* ---- both formats ---- */

bool decode_knows_name(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && dot > name && i < sizeof endings / sizeof endings[0]; i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

struct decoder *decoder_new(void)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (!d) {
        fail_memory(NULL);
        return NULL;
    }
    if (make_jpeg(d)) {
        free(d);
        return NULL;
    }
    return d;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    end_png(d);
    jpeg_destroy_decompress(&d->jpeg);
    image_free(&d->unturned);
    free(d->rows);
    free(d);
}

static void reset(struct decoder *d)
{
    if (d->kind == PNG)
        end_png(d);
    if (d->kind == JPEG)
        jpeg_abort_decompress(&d->jpeg);
    d->kind = NONE;
}

int decode_start(struct decoder *d, const struct sample *s, bool orient, int *width, int *height)
{
    reset(d);
    d->sample = s;
    if (s->size >= 8 && png_sig_cmp(s->bytes, 0, 8) == 0)
        d->kind = PNG;
    else if (s->size >= 3 && memcmp(s->bytes, "\xff\xd8\xff", 3) == 0)
        d->kind = JPEG;
    else
        return sample_fail(s, s->size ? "neither PNG nor JPEG" : "empty");
    if (d->kind == PNG ? start_png(d, width, height) : start_jpeg(d, orient, width, height))
        return -1;
    char name[256];
    snprintf(name, sizeof name, "%s%s%s", s->file, s->member ? ": " : "",
             s->member ? s->member : "");
    return image_check(*width, *height, name);
}

int decode_reduction(const struct decoder *d, double scale)
{
    int denominator = 1;
    while (d->kind == JPEG && denominator < 8 && 1.0 / (2 * denominator) >= scale)
        denominator *= 2;
    return denominator;
}

int decode_finish(struct decoder *d, int denominator, struct image *image)
{
    int result;
    if (d->kind == PNG) {
        result = image_resize(image, png_get_image_width(d->png, d->info),
                              png_get_image_height(d->png, d->info), d->sample->file);
        if (result == 0)
            result = finish_png(d, image);
    } else
        result = finish_jpeg(d, denominator, image);
    reset(d);
    return result;
}
