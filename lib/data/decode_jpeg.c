/* jpeg: JPEG files, by libjpeg-turbo. */
#include <setjmp.h>
#include <stdio.h> /* before jpeglib.h, which uses it */
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "base/fail.h"
#include "data/decode_format.h"

/* More scans than any camera or encoder writes. Each scan costs a pass over all coefficients. */
enum { MAX_SCANS = 200 };

struct jpeg_state {
    const struct sample *sample;
    jmp_buf failed;
    char defect[JMSG_LENGTH_MAX];
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
};

static void on_error(j_common_ptr jpeg)
{
    struct jpeg_state *j = jpeg->client_data;
    jpeg->err->format_message(jpeg, j->defect);
    longjmp(j->failed, 1);
}

/* Treats a file that ends too soon as an error. libjpeg goes on after any damage, with grey where
 * bytes are missing. */
static void on_message(j_common_ptr jpeg, int level)
{
    if (level < 0 && jpeg->err->msg_code == JWRN_JPEG_EOF)
        on_error(jpeg);
}

/* Ends the decoding of a file with too many scans. */
static void on_progress(j_common_ptr jpeg)
{
    struct jpeg_state *j = jpeg->client_data;
    if (j->jpeg.input_scan_number <= MAX_SCANS)
        return;
    snprintf(j->defect, sizeof j->defect, "more than %d scans", MAX_SCANS);
    longjmp(j->failed, 1);
}

static bool recognize(const uint8_t *bytes, size_t size)
{
    return size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0;
}

static void free_state(void *state)
{
    struct jpeg_state *j = state;
    jpeg_destroy_decompress(&j->jpeg);
    free(j);
}

static int create(struct jpeg_state *j)
{
    if (setjmp(j->failed))
        return fail("libjpeg: %s", j->defect);
    jpeg_create_decompress(&j->jpeg);
    return 0;
}

static void *make_state(void)
{
    struct jpeg_state *j = calloc(1, sizeof *j);
    if (!j)
        return fail_null("out of memory");
    j->jpeg.err = jpeg_std_error(&j->errors);
    j->errors.error_exit = on_error;
    j->errors.emit_message = on_message;
    j->jpeg.client_data = j;
    if (create(j)) {
        free(j);
        return NULL;
    }
    j->progress.progress_monitor = on_progress;
    j->jpeg.progress = &j->progress;
    return j;
}

static void end(void *state)
{
    jpeg_abort_decompress(&((struct jpeg_state *)state)->jpeg);
}

static int find_orientation(const struct jpeg_state *j)
{
    for (jpeg_saved_marker_ptr m = j->jpeg.marker_list; m; m = m->next) {
        const int value =
            m->marker == JPEG_APP0 + 1 ? decode_exif_orientation(m->data, m->data_length) : 1;
        if (value > 1)
            return value;
    }
    return 1;
}

static int start(void *state, const struct sample *s, bool orient, struct decode_found *found)
{
    struct jpeg_state *j = state;
    j->sample = s;
    if (setjmp(j->failed)) {
        if (j->jpeg.err->msg_code != JERR_IMAGE_TOO_BIG)
            return sample_fail(s, "damaged JPEG: %s", j->defect);
        found->width = j->jpeg.image_width;
        found->height = j->jpeg.image_height;
        return 0; /* decode.c refuses this size */
    }
    jpeg_mem_src(&j->jpeg, s->bytes, (unsigned long)s->size);
    jpeg_save_markers(&j->jpeg, JPEG_APP0 + 1, orient ? 0xffff : 0);
    jpeg_read_header(&j->jpeg, TRUE);
    found->orientation = orient ? find_orientation(j) : 1;
    found->width = j->jpeg.image_width;
    found->height = j->jpeg.image_height;
    found->kind = (struct image_kind){j->jpeg.jpeg_color_space == JCS_GRAYSCALE ? 1 : 3, 8};
    return 0;
}

static int decompress(struct jpeg_state *j, struct image *image)
{
    const bool cmyk = j->jpeg.out_color_space == JCS_CMYK;
    const size_t row_bytes = image_pixel_bytes(image->kind) * (size_t)image->width;
    uint8_t *line = NULL;
    if (cmyk) /* in libjpeg's memory, which jpeg_abort_decompress() frees */
        line = j->jpeg.mem->alloc_large((j_common_ptr)&j->jpeg, JPOOL_IMAGE,
                                        4 * (size_t)j->jpeg.output_width);
    while (j->jpeg.output_scanline < j->jpeg.output_height) {
        uint8_t *to = image->buffer + (size_t)j->jpeg.output_scanline * row_bytes;
        uint8_t *row = cmyk ? line : to;
        jpeg_read_scanlines(&j->jpeg, &row, 1);
        if (cmyk)
            decode_cmyk_to_rgb(line, (size_t)image->width, true, to);
    }
    jpeg_finish_decompress(&j->jpeg);
    return 0;
}

static int finish(void *state, enum decode_pixels pixels, int denominator, struct image *image)
{
    struct jpeg_state *j = state;
    if (setjmp(j->failed))
        return sample_fail(j->sample, "damaged JPEG: %s", j->defect);
    const J_COLOR_SPACE kind = j->jpeg.jpeg_color_space;
    j->jpeg.out_color_space = kind == JCS_CMYK || kind == JCS_YCCK                ? JCS_CMYK
                              : pixels == DECODE_RAW && image->kind.channels == 1 ? JCS_GRAYSCALE
                                                                                  : JCS_RGB;
    j->jpeg.scale_num = 1;
    j->jpeg.scale_denom = (unsigned int)denominator;
    jpeg_start_decompress(&j->jpeg);
    if (j->jpeg.output_width != (JDIMENSION)image->width ||
        j->jpeg.output_height != (JDIMENSION)image->height)
        return sample_fail(j->sample, "an unknown kind of JPEG");
    return decompress(j, image);
}

const struct decode_format decode_jpeg = {.name = "JPEG",
                                          .endings = ".jpg .jpeg .jfif",
                                          .recognize = recognize,
                                          .make = make_state,
                                          .free = free_state,
                                          .start = start,
                                          .finish = finish,
                                          .end = end,
                                          .reduces = true};
