/* tiles: draws the images of a tensor, or plots of its time series, into an RGB picture. */
#ifndef TILES_H
#define TILES_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"

/* The pictures of a tensor, which must outlive this. */
struct tiles {
    const struct tensor *x;
    bool series;           /* the tiles are plots */
    int64_t images, views; /* tiles: [images,views] */
    int64_t width, height; /* of a tile, in pixels */
    int64_t channels;
};

/* Describes the tiles of x, which is one of the following. Returns -1 with a message if it is not,
 * if it is empty, or if its images are too large to draw.
 *
 *   U8 or F32 [B,V,H,W,C] or [B,H,W,C]   Images. F32 is clamped to [0,1]; NaN is drawn magenta. With
 *                                        three channels or more the first three are red, green and
 *                                        blue, else the first is grey.
 *   F32 [B,V,1,T,C]                      Time series. A tile is a plot over time with one line for
 *                                        each channel, 96 pixels high and 96 to 512 wide; the plots
 *                                        of an image's views share their range. */
int tiles_of(const struct tensor *x, struct tiles *tiles);

/* Draws the tile of a view, enlarged by the factor `scale`, which is 1 for series. `corner` is its
 * first pixel (3 bytes: red, green, blue), and `pitch` the bytes from a row to the next. */
void tiles_draw(const struct tiles *tiles, int64_t image, int64_t view, int64_t scale,
                unsigned char *corner, int64_t pitch);

#endif
