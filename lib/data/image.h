/* image: an 8-bit RGB picture in memory. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum { IMAGE_MAX_SIDE = 1 << 15, IMAGE_MAX_PIXELS = 1 << 26 };

struct image {
    const uint8_t *pixels; /* U8 (height,width,3): in buffer, or in memory that its source owns */
    int width, height;
    /* Below: the module's own. */
    uint8_t *buffer;
    size_t capacity;
};

/* An image of width x height, perhaps decoded at a reduced scale: at 1/d, pixels are U8
 * (ceil(height/d),ceil(width/d),3). */
struct scaled_image {
    const uint8_t *pixels;
    int width, height;
    int denominator; /* d; 1: it is all there */
};

/* 0 if a picture may be of that size; -1 with a message naming `where` if a side is not in
 * 1..IMAGE_MAX_SIDE or there are more than IMAGE_MAX_PIXELS. */
int image_check(int64_t width, int64_t height, const char *where);

/* Makes room for a picture of that size in buffer and points pixels there. One struct can take one
 * picture after the other; start with {0}. -1 with a message naming `where` if image_check() says
 * so or memory is out. */
int image_resize(struct image *image, int64_t width, int64_t height, const char *where);
void image_free(struct image *image); /* leaves {0} */

#endif
