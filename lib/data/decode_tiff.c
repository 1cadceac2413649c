/* tiff: the first directory of TIFF files, by libtiff.
 *
 * The samples of all strips or tiles are put together as (height,width,samples), of 8 or 16 bits.
 * That is the image, or is converted to it: a palette is looked up, white as zero is inverted, CMYK
 * becomes RGB, and for DECODE_RGB the upper 8 bits of 16 count. As PIL does it, colours that were
 * multiplied by their alpha ("associated") are divided by it again. YCbCr takes another path: libtiff
 * makes RGB of it.
 *
 * JBIG is not read: its library ends the program if a hostile file asks for too much memory. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tiffio.h>

#include "base/fail.h"
#include "data/decode_format.h"

struct tiff_state {
    const struct sample *sample;
    TIFF *tiff;
    uint64_t at;      /* position in the sample's bytes */
    char error[200];  /* libtiff's first message; "": none */
    char damage[200]; /* its first warning about missing pixels */
    /* The directory. */
    uint32_t width, height;
    uint16_t bits, samples, photometric, compression, planar;
    uint16_t alpha; /* EXTRASAMPLE_ASSOCALPHA or ..._UNASSALPHA of the first extra sample, or 0 */
    bool by_rgba;   /* libtiff converts the picture to RGB */
    struct image buffer; /* the samples, if they are converted */
};

/* ---- libtiff's input and messages ---- */

static tmsize_t read_bytes(thandle_t handle, void *to, tmsize_t size)
{
    struct tiff_state *t = handle;
    const uint64_t left = t->at < t->sample->size ? t->sample->size - t->at : 0;
    const size_t n = (uint64_t)size < left ? (size_t)size : (size_t)left;
    if (n)
        memcpy(to, t->sample->bytes + t->at, n);
    t->at += n;
    return (tmsize_t)n;
}

static tmsize_t write_bytes(thandle_t handle, void *from, tmsize_t size)
{
    (void)handle;
    (void)from;
    (void)size;
    return -1;
}

static toff_t seek(thandle_t handle, toff_t to, int whence)
{
    struct tiff_state *t = handle;
    t->at = whence == SEEK_SET ? to : whence == SEEK_CUR ? t->at + to : t->sample->size + to;
    return t->at;
}

static int close_bytes(thandle_t handle)
{
    (void)handle;
    return 0;
}

static toff_t size_of(thandle_t handle)
{
    return ((struct tiff_state *)handle)->sample->size;
}

static int map_bytes(thandle_t handle, void **base, toff_t *size)
{
    const struct sample *s = ((struct tiff_state *)handle)->sample;
    *base = (void *)(uintptr_t)s->bytes; /* libtiff does not write to it */
    *size = s->size;
    return 1;
}

static void unmap_bytes(thandle_t handle, void *base, toff_t size)
{
    (void)handle;
    (void)base;
    (void)size;
}

static int on_error(TIFF *tiff, void *user, const char *module, const char *format, va_list list)
{
    struct tiff_state *t = user;
    (void)tiff;
    (void)module;
    if (!*t->error)
        vsnprintf(t->error, sizeof t->error, format, list);
    return 1;
}

/* Most warnings say nothing about the pixels, for example that a tag is unknown. These do: a fax
 * line or a JPEG strip has ended too soon. */
static int on_warning(TIFF *tiff, void *user, const char *module, const char *format, va_list list)
{
    struct tiff_state *t = user;
    char text[sizeof t->damage];
    (void)tiff;
    (void)module;
    vsnprintf(text, sizeof text, format, list);
    if (!*t->damage && (strstr(text, "Premature") || strstr(text, "Line length mismatch")))
        memcpy(t->damage, text, sizeof text);
    return 1;
}

static int fail_damaged(const struct tiff_state *t, const char *otherwise)
{
    return sample_fail(t->sample, "damaged TIFF: %s",
                       *t->error    ? t->error
                       : *t->damage ? t->damage
                                    : otherwise);
}

static TIFF *open_tiff(struct tiff_state *t)
{
    TIFFOpenOptions *options = TIFFOpenOptionsAlloc();
    if (!options)
        return NULL;
    TIFFOpenOptionsSetMaxSingleMemAlloc(options, IMAGE_MAX_BYTES);
    TIFFOpenOptionsSetErrorHandlerExtR(options, on_error, t);
    TIFFOpenOptionsSetWarningHandlerExtR(options, on_warning, t);
    TIFF *tiff = TIFFClientOpenExt("TIFF", "r", t, read_bytes, write_bytes, seek, close_bytes,
                                   size_of, map_bytes, unmap_bytes, options);
    TIFFOpenOptionsFree(options);
    return tiff;
}

static bool recognize(const uint8_t *bytes, size_t size)
{
    return size >= 4 && (memcmp(bytes, "II*\0", 4) == 0 || memcmp(bytes, "MM\0*", 4) == 0 ||
                         memcmp(bytes, "II+\0", 4) == 0 || memcmp(bytes, "MM\0+", 4) == 0);
}

static void *make_state(void)
{
    struct tiff_state *t = calloc(1, sizeof *t);
    if (!t)
        fail_memory("TIFF");
    return t;
}

static void end(void *state)
{
    struct tiff_state *t = state;
    if (t->tiff)
        TIFFClose(t->tiff);
    t->tiff = NULL;
}

static void free_state(void *state)
{
    struct tiff_state *t = state;
    image_free(&t->buffer);
    free(t);
}

/* ---- the directory ---- */

static void read_tags(struct tiff_state *t)
{
    uint16_t n_extra = 0, *extra = NULL;
    TIFFGetField(t->tiff, TIFFTAG_IMAGEWIDTH, &t->width);
    TIFFGetField(t->tiff, TIFFTAG_IMAGELENGTH, &t->height);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_BITSPERSAMPLE, &t->bits);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_SAMPLESPERPIXEL, &t->samples);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_COMPRESSION, &t->compression);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_PLANARCONFIG, &t->planar);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_EXTRASAMPLES, &n_extra, &extra);
    if (!TIFFGetField(t->tiff, TIFFTAG_PHOTOMETRIC, &t->photometric)) /* as PIL does */
        t->photometric = t->samples == 1 ? PHOTOMETRIC_MINISWHITE : PHOTOMETRIC_MINISBLACK;
    t->alpha = n_extra && (extra[0] == EXTRASAMPLE_ASSOCALPHA || extra[0] == EXTRASAMPLE_UNASSALPHA)
                   ? extra[0]
                   : 0;
    if (t->samples == 1)
        t->planar = PLANARCONFIG_CONTIG;
}

static bool is_grey(const struct tiff_state *t)
{
    return t->photometric == PHOTOMETRIC_MINISBLACK || t->photometric == PHOTOMETRIC_MINISWHITE;
}

static bool is_cmyk(const struct tiff_state *t)
{
    uint16_t inks = INKSET_CMYK;
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_INKSET, &inks);
    return t->photometric == PHOTOMETRIC_SEPARATED && t->samples == 4 && inks == INKSET_CMYK;
}

/* Checks that the samples are of a kind that is read. */
static int check_samples(const struct tiff_state *t)
{
    uint16_t format = SAMPLEFORMAT_UINT;
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_SAMPLEFORMAT, &format);
    if (format != SAMPLEFORMAT_UINT && format != SAMPLEFORMAT_VOID)
        return sample_fail(t->sample,
                           "a TIFF of %s; samples without sign, of up to 16 bits, are "
                           "read",
                           format == SAMPLEFORMAT_INT      ? "numbers with a sign"
                           : format == SAMPLEFORMAT_IEEEFP ? "floats"
                                                           : "complex numbers");
    if (t->bits != 8 && t->bits != 16 &&
        !(t->samples == 1 && (t->bits == 1 || t->bits == 2 || t->bits == 4)))
        return sample_fail(t->sample,
                           "a TIFF of %d samples of %d bits; 8 and 16 bits are read, and 1, 2 and "
                           "4 of one sample",
                           t->samples, t->bits);
    if (t->samples < 1 || t->samples > IMAGE_MAX_CHANNELS)
        return sample_fail(t->sample, "a TIFF of %d channels; up to %d are read", t->samples,
                           IMAGE_MAX_CHANNELS);
    if (t->compression == COMPRESSION_JBIG || !TIFFIsCODECConfigured(t->compression))
        return sample_fail(t->sample, "a TIFF of compression %d, which is not read",
                           t->compression);
    return 0;
}

/* Checks that the photometric interpretation is one that is read and agrees with the samples. */
static int check_photometric(const struct tiff_state *t)
{
    bool fits = true;
    switch (t->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
        break;
    case PHOTOMETRIC_RGB:
        fits = t->samples >= 3;
        break;
    case PHOTOMETRIC_PALETTE:
        fits = t->samples <= 2 && t->bits <= 8;
        break;
    case PHOTOMETRIC_SEPARATED:
        fits = t->samples >= 4;
        break;
    case PHOTOMETRIC_YCBCR:
        fits = t->samples == 3 && t->bits == 8;
        break;
    default:
        return sample_fail(t->sample, "a TIFF of photometric interpretation %d, which is not read",
                           t->photometric);
    }
    return fits ? 0
                : sample_fail(t->sample,
                              "damaged TIFF: %d samples of %d bits, with photometric "
                              "interpretation %d",
                              t->samples, t->bits, t->photometric);
}

/* Sets what DECODE_RAW gives, and whether there is RGB. */
static void classify(const struct tiff_state *t, struct decode_found *found)
{
    const bool rgb = t->by_rgba || t->photometric == PHOTOMETRIC_PALETTE ||
                     t->photometric == PHOTOMETRIC_YCBCR || is_cmyk(t);
    found->kind =
        rgb ? (struct image_kind){3, 8} : (struct image_kind){t->samples, t->bits == 16 ? 16 : 8};
    if (is_grey(t))
        found->no_rgb = t->samples > 2 || (t->samples == 2 && !t->alpha);
    else
        found->no_rgb = !rgb && (t->samples > 4 || t->photometric == PHOTOMETRIC_SEPARATED);
    if (t->by_rgba)
        found->no_rgb = false;
}

static int start(void *state, const struct sample *s, bool orient, struct decode_found *found)
{
    struct tiff_state *t = state;
    uint16_t orientation = 1;
    (void)orient; /* TIFF's own orientation always counts, as in PIL */
    t->sample = s;
    t->at = 0;
    *t->error = *t->damage = '\0';
    t->width = t->height = 0;
    t->tiff = open_tiff(t);
    if (!t->tiff)
        return fail_damaged(t, "it cannot be opened");
    read_tags(t);
    if (check_samples(t) || check_photometric(t))
        return -1;
    const bool chunky = t->planar == PLANARCONFIG_CONTIG;
    const bool jpeg = t->compression == COMPRESSION_JPEG && chunky;
    t->by_rgba =
        t->compression == COMPRESSION_OJPEG || (t->photometric == PHOTOMETRIC_YCBCR && !jpeg);
    if (t->photometric == PHOTOMETRIC_YCBCR && jpeg)
        TIFFSetField(t->tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    TIFFGetFieldDefaulted(t->tiff, TIFFTAG_ORIENTATION, &orientation);
    found->width = t->width;
    found->height = t->height;
    found->orientation = orientation <= 8 ? orientation : 1;
    classify(t, found);
    return 0;
}

/* ---- the samples ---- */

/* A strip or tile, whose upper left corner is at (x, y). */
struct tiff_part {
    uint32_t x, y, width, height; /* as it is stored; a tile may reach beyond the image */
    uint32_t samples, first;      /* that it holds for each pixel, and the number of the first */
    const uint8_t *bytes;
    size_t row_bytes;
};

/* Copies a part into the samples `to` (height,width,samples), as far as it is inside. Values of
 * less than 8 bits are multiplied by `factor`. */
static void place(const struct tiff_state *t, const struct tiff_part *part, int factor,
                  struct image *to)
{
    const uint32_t right = t->width - part->x, below = t->height - part->y;
    const uint32_t width = part->width < right ? part->width : right;
    const uint32_t height = part->height < below ? part->height : below;
    const size_t value = t->bits == 16 ? 2 : 1, pixel = value * t->samples;
    const size_t chunk = value * part->samples;
    for (uint32_t y = 0; y < height; y++) {
        const uint8_t *from = part->bytes + y * part->row_bytes;
        uint8_t *out =
            to->buffer + ((size_t)(part->y + y) * t->width + part->x) * pixel + value * part->first;
        if (t->bits < 8) {
            for (uint32_t x = 0; x < width; x++) {
                const uint32_t at = x * t->bits, shift = 8u - t->bits - at % 8;
                out[x] = (uint8_t)((from[at / 8] >> shift & ((1 << t->bits) - 1)) * factor);
            }
        } else if (chunk == pixel) {
            memcpy(out, from, width * pixel);
        } else {
            for (uint32_t x = 0; x < width; x++, out += pixel, from += chunk)
                memcpy(out, from, chunk);
        }
    }
}

/* Reads one strip or tile into `bytes`, and places it. */
static int read_part(const struct tiff_state *t, bool tiled, uint16_t plane, int factor,
                     struct tiff_part *part, uint8_t *bytes, tmsize_t size, struct image *to)
{
    const uint32_t below = t->height - part->y;
    const tmsize_t rows = tiled || part->height < below ? part->height : below;
    const tmsize_t need = rows * (tmsize_t)part->row_bytes;
    const tmsize_t got =
        tiled
            ? TIFFReadEncodedTile(t->tiff, TIFFComputeTile(t->tiff, part->x, part->y, 0, plane),
                                  bytes, size)
            : TIFFReadEncodedStrip(t->tiff, TIFFComputeStrip(t->tiff, part->y, plane), bytes, size);
    if (got < need || *t->error || *t->damage)
        return fail_damaged(t, "a strip is too short");
    part->bytes = bytes;
    part->first = plane;
    place(t, part, factor, to);
    return 0;
}

/* Reads the size of strips or tiles. A tile may be larger than the picture, but not by much, so that
 * a few bytes cannot ask for much memory. */
static int lay_out(const struct tiff_state *t, bool tiled, struct tiff_part *part, tmsize_t *size)
{
    enum { USUAL = 1 << 24 };
    const int64_t bytes = (int64_t)t->width * t->height * t->samples * (t->bits == 16 ? 2 : 1);
    *part = (struct tiff_part){.width = t->width};
    if (tiled) {
        TIFFGetField(t->tiff, TIFFTAG_TILEWIDTH, &part->width);
        TIFFGetField(t->tiff, TIFFTAG_TILELENGTH, &part->height);
    } else {
        TIFFGetFieldDefaulted(t->tiff, TIFFTAG_ROWSPERSTRIP, &part->height);
        part->height = part->height < t->height ? part->height : t->height;
    }
    part->samples = t->planar == PLANARCONFIG_CONTIG ? t->samples : 1;
    part->row_bytes = ((size_t)part->width * part->samples * t->bits + 7) / 8;
    *size = tiled ? TIFFTileSize(t->tiff) : TIFFStripSize(t->tiff);
    if (part->width < 1 || part->height < 1 || *size <= 0 || *size > 4 * bytes + USUAL ||
        part->height > (size_t)*size / part->row_bytes ||
        (size_t)*size != part->height * part->row_bytes)
        return fail_damaged(t, "the size of its strips or tiles");
    return 0;
}

/* Reads all samples. */
static int read_samples(struct tiff_state *t, struct image *to)
{
    const bool tiled = TIFFIsTiled(t->tiff);
    const uint16_t planes = t->planar == PLANARCONFIG_CONTIG ? 1 : t->samples;
    const int factor =
        t->bits >= 8 || t->photometric == PHOTOMETRIC_PALETTE ? 1 : 255 / ((1 << t->bits) - 1);
    struct tiff_part part;
    tmsize_t size;
    if (lay_out(t, tiled, &part, &size))
        return -1;
    uint8_t *bytes = calloc(1, (size_t)size);
    int result = bytes ? 0 : sample_fail(t->sample, "out of memory");
    for (uint16_t plane = 0; plane < planes && result == 0; plane++)
        for (part.y = 0; part.y < t->height && result == 0; part.y += part.height)
            for (part.x = 0; part.x < t->width && result == 0; part.x += part.width)
                result = read_part(t, tiled, plane, factor, &part, bytes, size, to);
    free(bytes);
    return result;
}

/* ---- conversion ---- */

static void invert(uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        bytes[i] = (uint8_t)~bytes[i];
}

/* Returns the upper 8 bits of sample s of a pixel. */
static inline int upper(const uint8_t *pixel, int s, bool wide)
{
    return wide ? ((const uint16_t *)(const void *)pixel)[s] >> 8 : pixel[s];
}

/* Converts grey or RGB, perhaps with alpha, to RGB of 8 bits. */
static void to_rgb(const struct tiff_state *t, const uint8_t *from, size_t n, uint8_t *rgb)
{
    const bool wide = t->bits == 16;
    const size_t pixel = (size_t)t->samples * (wide ? 2 : 1);
    const int colours = is_grey(t) ? 1 : 3;
    const bool divide = t->alpha == EXTRASAMPLE_ASSOCALPHA && t->samples > colours;
    for (size_t i = 0; i < n; i++, from += pixel) {
        const int alpha = divide ? upper(from, colours, wide) : 255;
        for (int c = 0; c < 3; c++) {
            int v = upper(from, colours == 1 ? 0 : c, wide);
            if (alpha < 255)
                v = alpha ? v * 255 / alpha : 0;
            rgb[3 * i + (size_t)c] = (uint8_t)(v > 255 ? 255 : v);
        }
    }
}

static int look_up(const struct tiff_state *t, const uint8_t *from, size_t n, uint8_t *rgb)
{
    uint16_t *map[3];
    if (!TIFFGetField(t->tiff, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2]))
        return fail_damaged(t, "it has no palette");
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = (uint8_t)(map[c][from[i * t->samples]] >> 8);
    return 0;
}

/* Converts CMYK of 8 or 16 bits to RGB. Overwrites the samples. */
static void convert_cmyk(const struct tiff_state *t, uint8_t *from, size_t n, uint8_t *rgb)
{
    for (size_t i = 0; t->bits == 16 && i < 4 * n; i++)
        from[i] = (uint8_t)upper(from, (int)i, true);
    decode_cmyk_to_rgb(from, n, false, rgb);
}

/* Lets libtiff convert the picture to RGB. */
static int finish_by_rgba(struct tiff_state *t, struct image *image)
{
    TIFFRGBAImage picture;
    char text[1024] = "";
    const size_t n = (size_t)image->width * (size_t)image->height;
    uint32_t *raster = malloc(n * sizeof *raster);
    if (!raster)
        return sample_fail(t->sample, "out of memory");
    int done = TIFFRGBAImageBegin(&picture, t->tiff, 1, text);
    if (done) {
        picture.req_orientation = picture.orientation; /* decode.c turns it */
        done = TIFFRGBAImageGet(&picture, raster, t->width, t->height);
        TIFFRGBAImageEnd(&picture);
    }
    for (size_t i = 0; i < n && done; i++) {
        image->buffer[3 * i] = (uint8_t)TIFFGetR(raster[i]);
        image->buffer[3 * i + 1] = (uint8_t)TIFFGetG(raster[i]);
        image->buffer[3 * i + 2] = (uint8_t)TIFFGetB(raster[i]);
    }
    free(raster);
    return done && !*t->error && !*t->damage ? 0 : fail_damaged(t, text);
}

static int finish(void *state, enum decode_pixels pixels, int denominator, struct image *image)
{
    struct tiff_state *t = state;
    (void)denominator;
    *t->error = *t->damage = '\0';
    if (t->by_rgba)
        return finish_by_rgba(t, image);
    const struct image_kind kind = {t->samples, t->bits == 16 ? 16 : 8};
    const bool palette = t->photometric == PHOTOMETRIC_PALETTE, cmyk = is_cmyk(t);
    const bool as_it_is =
        !palette && !cmyk && (pixels == DECODE_RAW || (t->samples == 3 && t->bits == 8));
    struct image *samples = as_it_is ? image : &t->buffer;
    if (!as_it_is && image_resize(samples, image->width, image->height, kind, t->sample->file))
        return -1;
    if (read_samples(t, samples))
        return -1;
    const size_t n = (size_t)image->width * (size_t)image->height;
    if (t->photometric == PHOTOMETRIC_MINISWHITE)
        invert(samples->buffer, n * image_pixel_bytes(kind));
    if (palette)
        return look_up(t, samples->buffer, n, image->buffer);
    if (cmyk)
        convert_cmyk(t, samples->buffer, n, image->buffer);
    else if (!as_it_is)
        to_rgb(t, samples->buffer, n, image->buffer);
    return 0;
}

const struct decode_format decode_tiff = {.name = "TIFF",
                                          .endings = ".tif .tiff",
                                          .recognize = recognize,
                                          .make = make_state,
                                          .free = free_state,
                                          .start = start,
                                          .finish = finish,
                                          .end = end};
