#include "data/decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <libexif/exif-data.h>

#include "base/fail.h"
#include "data/decode_format.h"

#define ROW(NAME) &decode_##NAME,
static const struct decode_format *const formats[] = {DECODE_FORMATS(ROW)};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

struct decoder {
    const struct sample *sample;
    void *states[N_FORMATS]; /* made when the first file of the format comes */
    int format;              /* of the picture that was begun, or -1 */
    struct decode_found found;
    struct image unturned;
};

/* ---- names ---- */

bool decode_knows_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    const size_t n = dot && dot > name ? strlen(dot) : 0;
    for (int i = 0; i < N_FORMATS && n; i++)
        for (const char *ending = formats[i]->endings; *ending;) {
            const size_t length = strcspn(ending, " ");
            if (length == n && strncasecmp(dot, ending, n) == 0)
                return true;
            ending += length + strspn(ending + length, " ");
        }
    return false;
}

const char *decode_format_names(void)
{
    return "PNG, JPEG, WebP, TIFF, BMP or PNM";
}

/* ---- for formats ---- */

int decode_exif_orientation(const uint8_t *bytes, size_t size)
{
    static const uint8_t start[6] = "Exif\0";
    uint8_t *copy = NULL;
    if (size > UINT16_MAX)
        size = UINT16_MAX; /* libexif reads no more */
    if (size >= 4 && (memcmp(bytes, "II", 2) == 0 || memcmp(bytes, "MM", 2) == 0)) {
        copy = malloc(sizeof start + size);
        if (!copy)
            return 1;
        memcpy(mempcpy(copy, start, sizeof start), bytes, size);
        bytes = copy;
        size += sizeof start;
    }
    ExifData *exif = exif_data_new_from_data(bytes, (unsigned int)size);
    const ExifEntry *entry = exif ? exif_data_get_entry(exif, EXIF_TAG_ORIENTATION) : NULL;
    int value = 1;
    if (entry && entry->format == EXIF_FORMAT_SHORT && entry->size >= 2)
        value = exif_get_short(entry->data, exif_data_get_byte_order(exif));
    if (exif)
        exif_data_unref(exif);
    free(copy);
    return value >= 1 && value <= 8 ? value : 1;
}

/* Returns a x b / 255, rounded. */
static inline int product255(int a, int b)
{
    const int t = a * b + 128;
    return (t + (t >> 8)) >> 8;
}

void decode_cmyk_to_rgb(const uint8_t *cmyk, size_t n, bool inverted, uint8_t *rgb)
{
    const int flip = inverted ? 255 : 0;
    for (size_t i = 0; i < n; i++) {
        const int light = 255 - (cmyk[4 * i + 3] ^ flip);
        for (size_t c = 0; c < 3; c++) {
            const int value = light - product255(cmyk[4 * i + c] ^ flip, light);
            rgb[3 * i + c] = (uint8_t)(value < 0 ? 0 : value);
        }
    }
}

/* ---- decoding ---- */

struct decoder *decoder_new(void)
{
    struct decoder *d = calloc(1, sizeof *d);
    if (!d)
        return fail_null("out of memory");
    d->format = -1;
    return d;
}

static void end(struct decoder *d)
{
    if (d->format >= 0)
        formats[d->format]->end(d->states[d->format]);
    d->format = -1;
}

void decoder_free(struct decoder *d)
{
    if (!d)
        return;
    end(d);
    for (int i = 0; i < N_FORMATS; i++)
        if (d->states[i])
            formats[i]->free(d->states[i]);
    image_free(&d->unturned);
    free(d);
}

/* Finds the format of the sample, and makes its state. */
static int choose_format(struct decoder *d, const struct sample *s)
{
    int i = 0;
    while (i < N_FORMATS && !formats[i]->recognize(s->bytes, s->size))
        i++;
    if (s->size == 0)
        return sample_fail(s, "empty");
    if (i == N_FORMATS)
        return sample_fail(s, "not %s", decode_format_names());
    if (!d->states[i])
        d->states[i] = formats[i]->make();
    if (!d->states[i])
        return -1;
    d->format = i;
    return 0;
}

static bool is_aside(const struct decoder *d)
{
    return d->found.orientation >= 5;
}

int decode_start(struct decoder *d, const struct sample *s, bool orient,
                 struct decode_header *header)
{
    end(d);
    d->sample = s;
    d->found = (struct decode_found){0};
    if (choose_format(d, s) ||
        formats[d->format]->start(d->states[d->format], s, orient, &d->found))
        return -1;
    const struct decode_found *f = &d->found;
    const int64_t width = is_aside(d) ? f->height : f->width;
    const int64_t height = is_aside(d) ? f->width : f->height;
    char name[256];
    snprintf(name, sizeof name, "%s%s%s", s->file, s->member ? ": " : "",
             s->member ? s->member : "");
    if (image_check_kind(width, height, f->kind, name))
        return -1;
    *header = (struct decode_header){(int)width, (int)height, f->kind, f->no_rgb};
    return 0;
}

int decode_reduction(const struct decoder *d, double scale)
{
    int denominator = 1;
    while (formats[d->format]->reduces && denominator < 8 && 1.0 / (2 * denominator) >= scale)
        denominator *= 2;
    return denominator;
}

static int decode(struct decoder *d, enum decode_pixels pixels, int denominator,
                  struct image *image)
{
    const struct decode_found *f = &d->found;
    const char *file = d->sample->file;
    const struct image_kind rgb = {0}, kind = pixels == DECODE_RGB ? rgb : f->kind;
    const bool turned = f->orientation > 1;
    const int64_t width = (f->width + denominator - 1) / denominator;
    const int64_t height = (f->height + denominator - 1) / denominator;
    struct image *straight = turned ? &d->unturned : image;
    if (pixels == DECODE_RGB && f->no_rgb)
        return sample_fail(d->sample, "its %d channels are not RGB of 8 bits (--pixels raw)",
                           f->kind.channels);
    if (image_resize(straight, width, height, kind, file) ||
        (turned && image_resize(image, is_aside(d) ? height : width, is_aside(d) ? width : height,
                                kind, file)) ||
        formats[d->format]->finish(d->states[d->format], pixels, denominator, straight))
        return -1;
    if (turned)
        image_turn(straight, f->orientation, image);
    return 0;
}

int decode_finish(struct decoder *d, enum decode_pixels pixels, int denominator,
                  struct image *image)
{
    const int result = decode(d, pixels, denominator, image);
    end(d);
    return result;
}
