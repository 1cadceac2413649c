/* winograd_transform: the transforms of Winograd's convolutions (winograd.h): of tiles of inputs,
 * of outputs and of their gradients, and of weights. winograd_transform.c derives them. */
#ifndef WINOGRAD_TRANSFORM_H
#define WINOGRAD_TRANSFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/winograd.h"

enum {
    WINOGRAD_TILE = 4,       /* outputs of a tile, a side */
    WINOGRAD_SPAN = 6,       /* its inputs, a side */
    WINOGRAD_POSITIONS = 36, /* SPAN^2: values of a transformed tile */
    WINOGRAD_LANES = 16      /* channels that are transformed together */
};

/* Transformed tiles, [36][channels / columns][rows][columns]: a row is a tile. From one of the 36
 * to the next there are `position` floats. Any number of columns does; multiples of WINOGRAD_LANES
 * are fast. */
struct winograd_planes {
    float *first;
    int64_t rows, columns, position;
    int64_t channels; /* that there is memory for, a multiple of columns */
};

/* Returns where the value of a row and a channel is at the first position. */
static inline float *winograd_planes_at(const struct winograd_planes *p, int64_t row,
                                        int64_t channel)
{
    return p->first + (channel / p->columns * p->rows + row) * p->columns + channel % p->columns;
}

/* Returns the bytes of a value of a map. */
static inline size_t winograd_value_bytes(bool bf16)
{
    return bf16 ? sizeof(uint16_t) : sizeof(float);
}

/* Transforms the first `channels` channels of x, of n tiles from tile `first` on, to v's first
 * rows. Channels up to a multiple of 16, where v has them, become zeros. Tiles are numbered through
 * the batch, row by row of each image. */
void winograd_transform_inputs(const struct winograd_shape *s, const void *x, int64_t first,
                               int64_t n, int64_t channels, const struct winograd_planes *v);

/* Transforms rows `row` to row + n of m, which are the tiles from `first` on, to y; with `add`,
 * adds them. Unless sums is NULL it becomes (2, o), the sums of these tiles' values and of their
 * squares as they are stored, but before rounding to y's type. */
void winograd_transform_outputs(const struct winograd_shape *s, const struct winograd_planes *m,
                                int64_t row, int64_t first, int64_t n, void *y, double *sums,
                                bool add);

/* Transforms the gradients of n tiles' outputs from tile `first` on to d, where a row is a channel
 * and a column a tile: to its first columns. Columns up to a multiple of 16 become zeros. d's
 * columns are a multiple of 16, and its rows reach to a multiple of 16 that is at least o. */
void winograd_transform_gradients(const struct winograd_shape *s, const void *dy, int64_t first,
                                  int64_t n, const struct winograd_planes *d);

/* Transforms m, sums of products for `rows` outputs and `columns` inputs, to the gradients of the
 * weights: the first `columns` channels of `to` (rows, 9, c), which with `add` are added to. */
void winograd_transform_products(const struct winograd_planes *m, int64_t rows, int64_t columns,
                                 int64_t c, bool add, float *to);

/* The weights of a convolution in either direction. */
struct winograd_weights {
    const float *first;   /* tap of the first input and output: the first tap, backward the last */
    int64_t in, out, tap; /* floats from one input, output or tap to the next */
    bool bf16;            /* they are rounded to it */
};

/* Transforms the first weights, of at most 16 inputs and 16 outputs, to [16][columns] at each of
 * the 36 positions of packed, which are `position` floats apart. Writes the first `lanes` columns,
 * at most 16; weights that are missing count as 0. */
void winograd_transform_weights(const struct winograd_weights *w, int64_t inputs, int64_t outputs,
                                int64_t lanes, int64_t columns, int64_t position, float *packed);

#endif
