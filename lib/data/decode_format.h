/* decode_format: the functions that a format of image files provides to decode.c.
 *
 * To add a format NAME, write lib/data/decode_NAME.c, which defines `const struct decode_format
 * decode_NAME`, and add the row X(NAME) to DECODE_FORMATS below. The endings of file names, the
 * messages and the order of recognition follow. */
#ifndef DECODE_FORMAT_H
#define DECODE_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/decode.h"
#include "data/image.h"
#include "data/sample.h"

/* All formats. The first that recognizes the first bytes of a file decodes it. */
#define DECODE_FORMATS(X)                                                                          \
    X(png)                                                                                         \
    X(jpeg)                                                                                        \
    X(webp)                                                                                        \
    X(tiff)                                                                                        \
    X(bmp)                                                                                         \
    X(pnm)

/* The properties of a picture that start() finds in a file. The struct is {0} before. */
struct decode_found {
    int64_t width, height;  /* in pixels, as stored; decode.c checks them */
    struct image_kind kind; /* what DECODE_RAW gives: channels, and 8 or 16 bits */
    bool no_rgb;            /* the channels are not colours or grey, so DECODE_RGB is impossible */
    int orientation;        /* 1..8, of a picture that has to be turned; else 0 or 1 */
};

struct decode_format {
    const char *name;    /* "PNG" */
    const char *endings; /* of file names, in lower case, with blanks between: ".jpg .jpeg" */
    bool (*recognize)(const uint8_t *bytes, size_t size);

    /* Make and free the format's state, which is used for one file after the other in one thread.
     * make() returns NULL with a message. */
    void *(*make)(void);
    void (*free)(void *state);

    /* Reads the header of a file. The sample stays valid until end(). With `orient`, also reads the
     * orientation from EXIF data. Returns -1 with a message that names the sample. */
    int (*start)(void *state, const struct sample *s, bool orient, struct decode_found *found);
    /* Decodes the picture into `image`, which has the stored size, divided by the denominator and
     * rounded up, and the kind that `pixels` asks for. Returns -1 with a message. */
    int (*finish)(void *state, enum decode_pixels pixels, int denominator, struct image *image);
    /* Ends a file that start() was called for, whether or not anything failed. */
    void (*end)(void *state);

    bool reduces; /* finish() takes the denominators 2, 4 and 8; otherwise only 1 */
};

#define DECODE_DECLARE(NAME) extern const struct decode_format decode_##NAME;
DECODE_FORMATS(DECODE_DECLARE)
#undef DECODE_DECLARE

/* ---- for formats ---- */

/* Returns the orientation in the EXIF data at those bytes, 1..8; 1 if there is none. The data may
 * begin with "Exif" and two zeros, or not. */
int decode_exif_orientation(const uint8_t *bytes, size_t size);

/* Converts cyan, magenta, yellow and black, (n,4), to RGB (n,3) as PIL does, without any colour
 * profile. With `inverted`, 255 means no ink. The buffers may overlap if rgb does not start after
 * cmyk. */
void decode_cmyk_to_rgb(const uint8_t *cmyk, size_t n, bool inverted, uint8_t *rgb);

#endif
