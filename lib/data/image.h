/* image: an 8-bit RGB picture in memory, U8 (height,width,3). */
#ifndef IMAGE_H
#define IMAGE_H

#include <stddef.h>
#include <stdint.h>

/* The largest picture: pixels a side, and pixels in all. */
enum { IMAGE_MAX_SIDE = 1 << 15, IMAGE_MAX_PIXELS = 1 << 26 };

/* An image, which starts as {0}. */
struct image {
    const uint8_t *pixels; /* U8 (height,width,3), in buffer or in memory of the image's source */
    int width, height;
    /* The module's own. */
    uint8_t *buffer;
    size_t capacity; /* bytes of the buffer */
};

/* An image of width x height pixels that may have been decoded at a reduced scale. */
struct scaled_image {
    const uint8_t *pixels; /* U8 (ceil(height/denominator),ceil(width/denominator),3) */
    int width, height;     /* of the whole image */
    int denominator;       /* 1: the image is not reduced */
};

/* Returns 0 if a picture may have that size. Returns -1 with a message that begins with `where` if
 * a side is not in 1..IMAGE_MAX_SIDE or there are more than IMAGE_MAX_PIXELS. */
int image_check(int64_t width, int64_t height, const char *where);

/* Makes room for a picture of that size in the image's buffer, and sets pixels to it. The same
 * image can be used for one picture after the other. Returns -1 with a message that begins with
 * `where` if image_check() fails or memory is out. */
int image_resize(struct image *image, int64_t width, int64_t height, const char *where);
void image_free(struct image *image); /* leaves {0} */

#endif
