/* decode: PNG and JPEG files in memory into pixels, whatever their kind, exactly as PIL's
 * convert("RGB") does (it uses the same libraries), but for grey of 16 bits:
 *
 *   PNG   palette, grey, alpha (dropped, not composited), 16 bits (the upper 8 are taken; of grey
 *         PIL cuts values off at 255), interlaced. The image's data must be there with right
 *         checksums; what should follow them may be missing.
 *   JPEG  baseline and progressive, YCbCr, RGB, grey, CMYK and YCCK (inverted, as Adobe writes
 *         them; no colour profile). Its end missing is an error; other damage that libjpeg
 *         tolerates is not.
 *
 * Which of them it is tell the first bytes. Memory: the picture, and of a progressive JPEG its
 * coefficients, at most 6 bytes a pixel, which IMAGE_MAX_PIXELS bounds. */
#ifndef DECODE_H
#define DECODE_H

#include <stdbool.h>

#include "data/image.h"
#include "data/sample.h"

/* Does a file name end as those of PNG and JPEG files do? */
bool decode_knows_name(const char *name);

struct decoder; /* a thread's own: the libraries' state, used again for each picture */

struct decoder *decoder_new(void); /* NULL with a message */
void decoder_free(struct decoder *d);

/* Reads the header of an encoded sample and tells the size of its picture; with `orient`, of the
 * picture turned as its EXIF orientation asks. The sample must stay until the decoder is used for
 * another. -1 with a message that names the sample. */
int decode_start(struct decoder *d, const struct sample *s, bool orient, int *width, int *height);

/* The smallest denominator of 1, 2, 4, 8 that still leaves 1/denominator >= scale, of those that
 * the started picture can be decoded at: a PNG at 1 only. */
int decode_reduction(const struct decoder *d, double scale);

/* Decodes what was started, at 1/denominator of its size (a side that does not divide is rounded
 * up). -1 with a message. */
int decode_finish(struct decoder *d, int denominator, struct image *image);

#endif
