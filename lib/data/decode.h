/* decode: decodes all kinds of PNG and JPEG files in memory to pixels. The pixels are those of
 * PIL's convert("RGB"), which uses the same libraries, except for grey of 16 bits:
 *
 *   PNG    palette, grey, alpha (dropped, not composited), 16 bits (the upper 8 count; PIL cuts
 *          grey values off at 255), interlaced. The image's data must be complete with correct
 *          checksums; anything after it may be missing.
 *   JPEG   baseline and progressive; YCbCr, RGB, grey, CMYK and YCCK (inverted, as Adobe writes
 *          them; no colour profile). A file that ends too soon is an error; other damage that
 *          libjpeg tolerates is not.
 *
 * The first bytes of a file decide which of them it is. Memory: the picture, and the coefficients
 * of a progressive JPEG, at most 6 bytes a pixel; IMAGE_MAX_PIXELS bounds both. */
#ifndef DECODE_H
#define DECODE_H

#include <stdbool.h>

#include "data/image.h"
#include "data/sample.h"

/* Returns true if a file name ends in .png, .jpg or .jpeg, in upper or lower case. */
bool decode_knows_name(const char *name);

/* The state of the libraries, which is used for one picture after the other. Each thread needs its
 * own. */
struct decoder;

struct decoder *decoder_new(void); /* NULL with a message */
void decoder_free(struct decoder *d);

/* Reads the header of an encoded sample, and sets width and height to the size of its picture in
 * pixels; with `orient`, to that of the picture turned according to its EXIF orientation. The
 * sample must stay valid until the decoder is used for another one. Returns -1 with a message that
 * names the sample. */
int decode_start(struct decoder *d, const struct sample *s, bool orient, int *width, int *height);

/* Returns the largest denominator of 1, 2, 4, 8 for which 1/denominator >= scale and at which the
 * picture can be decoded. For a PNG it is always 1, and also if scale is above 1. */
int decode_reduction(const struct decoder *d, double scale);

/* Decodes the picture that decode_start() began, at 1/denominator of its size; a side that is not a
 * multiple is rounded up. Returns -1 with a message on failure. */
int decode_finish(struct decoder *d, int denominator, struct image *image);

#endif
