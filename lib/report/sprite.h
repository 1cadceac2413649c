/* sprite: one picture that holds the images of a stream as tiles of the same size, for a page. */
#ifndef SPRITE_H
#define SPRITE_H

#include <jansson.h>
#include <stdint.h>

#include "frame/frame.h"

/* Starts as {.most = PIXELS}; sprite_free() frees what it holds. */
struct sprite {
    int64_t most;          /* larger tiles are shrunk to this many pixels; 0: none is */
    int64_t width, height; /* of a tile, in pixels; 0 before the first */
    int64_t views;         /* of each image, which are neighbouring tiles */
    int64_t n, capacity;   /* tiles */
    unsigned char *pixels; /* [n,height,width,3] */
    json_t *index;         /* the numbers of the images, from the frames' index; or NULL */
};

/* Adds the tiles of the frame's x (tiles.h). Returns -1 with a message if there is no x, if it
 * cannot be drawn, if its tiles have another size than those before, if they are more than 128 MiB
 * in all, or if memory is out. */
int sprite_add(struct sprite *s, const struct frame *f);

/* Returns {"width", "height" (of a tile), "columns", "count" (of tiles), "views", "src"}, and "index",
 * the numbers of the images, if all frames have the tensor index. src is the picture as a data URI: PNG, or JPEG where a PNG would be above 100 kB and larger. Tiles fill rows from left to right. Returns NULL with a message if there are none, or if memory is out;
 * the caller owns the result. */
json_t *sprite_json(const struct sprite *s);

void sprite_free(struct sprite *s);

#endif
