/* row_tiles: how a convolution's work is cut into parts that fit in a core's cache, and what its
 * parts share: sizes, and the carving of a thread's workspace. */
#ifndef ROW_TILES_H
#define ROW_TILES_H

#include "base/count.h"
#include "engine/panel.h"

/* A grid of rows, for the images of each grain, is cut into groups of n whole images or, where
 * these are too large, into runs of `rows` rows of such a group. */
struct row_tiles {
    int64_t grid_rows, images_per_grain;
    int64_t n, rows;
    int64_t per_image, per_grain, count;
};

struct row_tile {
    int64_t image, images, row, rows;
};

/* Bytes of the panels of a strip of n images and so many rows. */
typedef size_t row_tile_bytes(const void *of, int64_t n, int64_t rows);

/* The largest strips of at most `most` bytes; of at least `together` images, and of at least `unit`
 * rows where images are cut. They depend on the shape alone. */
struct row_tiles row_tiles_cut(int64_t images, int64_t grains, int64_t rows, int64_t together,
                               int64_t unit, size_t most, row_tile_bytes *bytes, const void *of);
struct row_tile row_tile_at(const struct row_tiles *k, int64_t i);

/* The next `bytes` of a workspace, 64-byte aligned; counting from 0 it finds the size. */
static inline size_t carve(size_t *at, size_t bytes)
{
    const size_t here = *at;
    *at += (size_t)count_round_up((int64_t)bytes, 64);
    return here;
}

/* Bytes of a value of a map. */
static inline size_t map_value(const struct precision *v)
{
    return v->bf16_maps ? sizeof(uint16_t) : sizeof(float);
}

/* Steps that one step of values becomes: of split values the products high high, high low and
 * low high. */
static inline int64_t step_parts(const struct precision *v)
{
    return v->split ? 3 : 1;
}

/* Appends the steps for values at a and b to n steps; the low parts lie a_half and b_half further
 * on. Returns how many there are now. */
static inline int64_t add_steps(const struct precision *v, struct gemm_step *steps, int64_t n,
                                struct gemm_step at, size_t a_half, size_t b_half)
{
    steps[n++] = at;
    if (v->split) {
        steps[n++] = (struct gemm_step){at.a, at.b + (ptrdiff_t)b_half};
        steps[n++] = (struct gemm_step){at.a + (ptrdiff_t)a_half, at.b};
    }
    return n;
}

#endif
