/* image: a picture in memory, (height,width,channels), of 8 or 16 bits or of floats. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* The largest picture: pixels a side, pixels in all, channels, and bytes in all. */
enum {
    IMAGE_MAX_SIDE = 1 << 15,
    IMAGE_MAX_PIXELS = 1 << 26,
    IMAGE_MAX_CHANNELS = 512,
    IMAGE_MAX_BYTES = 1 << 29
};

/* The values of a pixel. {0} is the usual kind: red, green and blue of 8 bits. */
struct image_kind {
    int channels; /* 0: RGB of 8 bits */
    int depth; /* bits of a value: 8 (U8), 16 (in the machine's byte order) or 32 (F32 in [0,1]) */
};

/* Return the channels of a pixel, and its bytes. */
int image_channels(struct image_kind kind);
size_t image_pixel_bytes(struct image_kind kind);

/* An image, which starts as {0}. */
struct image {
    const uint8_t *pixels; /* (height,width,channels), in buffer or in memory of the source */
    int width, height;
    struct image_kind kind;
    /* The module's own. */
    uint8_t *buffer;
    size_t capacity; /* bytes of the buffer */
};

/* An image of width x height pixels that may have been decoded at a reduced scale. */
struct scaled_image {
    const uint8_t *pixels; /* (ceil(height/denominator),ceil(width/denominator),channels) */
    int width, height;     /* of the whole image */
    int denominator;       /* 1: the image is not reduced */
    struct image_kind kind;
};

/* Returns 0 if a picture may have that size. Returns -1 with a message that begins with `where` if
 * a side is not in 1..IMAGE_MAX_SIDE or there are more than IMAGE_MAX_PIXELS. */
int image_check(int64_t width, int64_t height, const char *where);

/* Does the same, and also checks the channels and bytes of a picture of that kind. */
int image_check_kind(int64_t width, int64_t height, struct image_kind kind, const char *where);

/* Makes room for a picture of that size and kind in the image's buffer, and sets pixels to it. The
 * same image can be used for one picture after the other. Returns -1 with a message that begins
 * with `where` if image_check_kind() fails or memory is out. */
int image_resize(struct image *image, int64_t width, int64_t height, struct image_kind kind,
                 const char *where);
void image_free(struct image *image); /* leaves {0} */

/* Turns a picture according to EXIF's and TIFF's orientation 2..8, which mirrors left and right,
 * mirrors top and bottom, and swaps the axes. `to` has the resulting size and the same kind. */
void image_turn(const struct image *from, int orientation, struct image *to);

#endif
