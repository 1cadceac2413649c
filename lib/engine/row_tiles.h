/* row_tiles: how a convolution's output is divided into tiles whose operands fit in a core's cache.
 * A tile is some rows of output of some images of one grain. */
#ifndef ROW_TILES_H
#define ROW_TILES_H

#include <stddef.h>
#include <stdint.h>

/* The division of a grid of rows. The images of each grain are divided into groups of n whole
 * images. Where these are too large, each group is divided into runs of `rows` rows. */
struct row_tiles {
    int64_t grid_rows, images_per_grain;
    int64_t n, rows;
    int64_t per_image, per_grain, count; /* tiles of a group of images, of a grain, in all */
};

/* A tile: `images` images from `image` on, and `rows` rows of each from `row` on. */
struct row_tile {
    int64_t image, images, row, rows;
};

/* Returns the bytes of the panels of a tile of n images and `rows` rows. `of` is the caller's. */
typedef size_t row_tiles_bytes(const void *of, int64_t n, int64_t rows);

/* Returns the division with the largest tiles of at most `most` bytes. They have at least
 * `together` images (or all of a grain); where images are divided, they have a multiple of `unit`
 * rows. The division depends on the shape alone, not on the number of threads. bytes(of, ...)
 * returns the size of a tile. */
struct row_tiles row_tiles_cut(int64_t images, int64_t grains, int64_t rows, int64_t together,
                               int64_t unit, size_t most, row_tiles_bytes *bytes, const void *of);

/* Returns tile i of k->count. The tiles of a grain are neighbours. */
struct row_tile row_tiles_at(const struct row_tiles *k, int64_t i);

#endif
