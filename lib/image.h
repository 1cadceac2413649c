/* image: an 8-bit RGB picture in memory, and how PNG files become one. */
#ifndef IMAGE_H
#define IMAGE_H

#include <stddef.h>
#include <stdint.h>

enum { IMAGE_MAX_SIDE = 1 << 15, IMAGE_MAX_PIXELS = 1 << 26 };

struct image {
    const uint8_t *pixels; /* U8 (height,width,3): in buffer, or in memory that its source owns */
    int width, height;
    int64_t label; /* class number, or -1 */
    /* Below: the module's own. */
    uint8_t *buffer;
    size_t capacity;
};

/* Makes room for a picture of that size in buffer and points pixels there. One struct can take one
 * picture after the other; start with {0}. -1 with a message naming `where` if a side is not in
 * 1..IMAGE_MAX_SIDE, there are more than IMAGE_MAX_PIXELS, or memory is out. */
int image_resize(struct image *image, int64_t width, int64_t height, const char *where);
void image_free(struct image *image); /* leaves {0} */

/* Decodes a PNG of any kind: palette, grey, alpha (dropped, not composited), 16 bits (the upper 8
 * are taken), interlaced. The label is left alone. -1 with a message that names the file. */
int image_read_png(struct image *image, const char *path);

#endif
