/* decode: decodes image files in memory to pixels.
 *
 *   format   library            what is read
 *   ------   ----------------   ------------------------------------------------------------------
 *   PNG      libpng             palette, grey, alpha, 16 bits, interlaced. The image's data must be
 *                               complete with correct checksums; what follows it may be missing
 *   JPEG     libjpeg-turbo      baseline and progressive; YCbCr, RGB, grey, CMYK and YCCK (inverted,
 *                               as Adobe writes them; no colour profile)
 *   WebP     libwebp            lossy, lossless, with alpha; the first frame of an animation
 *   TIFF     libtiff            the first directory: grey, RGB, palette, YCbCr, CMYK, or any number
 *                               of channels, of 8 or 16 bits (grey and palette: 1 to 8 or 16); strips and
 *                               tiles, chunky and planar; every compression but JBIG
 *   BMP      decode_bmp.c       1, 4, 8, 16, 24 and 32 bits, RLE, masks
 *   PNM      decode_pnm.c       PBM, PGM and PPM, plain and raw; PAM; up to 16 bits
 *
 * The first bytes of a file decide which of them it is. A file that ends too soon is an error;
 * other damage that a library tolerates without a word about missing pixels is not.
 *
 * There are two forms of pixels:
 *
 *   DECODE_RGB   red, green and blue of 8 bits, which are those of PIL's convert("RGB") except for
 *                16 bits: the upper 8 count, where PIL cuts grey values off at 255. Alpha is dropped
 *                and not composited.
 *   DECODE_RAW   the file's own channels, and 16 bits where it has them. Palettes, YCbCr and CMYK
 *                become RGB; alpha is a channel.
 *
 * Memory: docs/data.md. IMAGE_MAX_BYTES and IMAGE_MAX_PIXELS bound everything. */
#ifndef DECODE_H
#define DECODE_H

#include <stdbool.h>

#include "data/image.h"
#include "data/sample.h"

/* Returns true if a file name ends in .png, .jpg or another ending of a format, in upper or lower
 * case. */
bool decode_knows_name(const char *name);

/* The names of the formats, for messages: "PNG, JPEG, ... or PNM". */
const char *decode_format_names(void);

enum decode_pixels { DECODE_RGB, DECODE_RAW };

/* The state of the libraries, which is used for one picture after the other. Each thread needs its
 * own. */
struct decoder;

struct decoder *decoder_new(void); /* NULL with a message */
void decoder_free(struct decoder *d);

/* The properties of a picture that are known before it is decoded. */
struct decode_header {
    int width, height;      /* in pixels, after turning */
    struct image_kind kind; /* what DECODE_RAW gives */
    bool no_rgb;            /* it has no colours and no grey; only DECODE_RAW is possible */
};

/* Reads the header of an encoded sample. A TIFF is turned as its orientation says, as PIL does it;
 * with `orient` the picture is also turned according to its EXIF orientation. The sample must stay
 * valid until the decoder is used for another one. Returns -1 with a message that names the
 * sample. */
int decode_start(struct decoder *d, const struct sample *s, bool orient,
                 struct decode_header *header);

/* Returns the largest denominator of 1, 2, 4, 8 for which 1/denominator >= scale and at which the
 * picture can be decoded. It is 1 if the format is not JPEG, and also if scale is above 1. */
int decode_reduction(const struct decoder *d, double scale);

/* Decodes the picture that decode_start() began, at 1/denominator of its size; a side that is not a
 * multiple is rounded up. Returns -1 with a message on failure, and for DECODE_RGB if the picture
 * has no such colours. */
int decode_finish(struct decoder *d, enum decode_pixels pixels, int denominator,
                  struct image *image);

#endif
