/* winograd_transform: the transforms of Winograd's convolutions (winograd.h) for tiles of inputs,
 * of outputs and of their gradients, and for weights. winograd_transform.c derives them. */
#ifndef WINOGRAD_TRANSFORM_H
#define WINOGRAD_TRANSFORM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/winograd.h"

enum {
    WINOGRAD_TILE = 4,       /* height and width of a tile's outputs */
    WINOGRAD_SPAN = 6,       /* height and width of a tile's inputs */
    WINOGRAD_POSITIONS = 36, /* SPAN^2: values of a transformed tile */
    WINOGRAD_LANES = 16,     /* channels that are transformed together */
    WINOGRAD_OUTPUTS = 32    /* output channels whose weights are transformed together */
};

/* Transformed tiles, [36][channels / columns][rows][columns], where a row is a tile. The 36
 * positions are `position` floats apart. Any number of columns works; multiples of WINOGRAD_LANES
 * are fast. */
struct winograd_planes {
    float *first;
    int64_t rows, columns, position;
    int64_t channels; /* channels that the memory has room for, a multiple of columns */
};

/* Returns the address of the value of a row and a channel at the first position. */
static inline float *winograd_planes_at(const struct winograd_planes *p, int64_t row,
                                        int64_t channel)
{
    return p->first + (channel / p->columns * p->rows + row) * p->columns + channel % p->columns;
}

/* Returns the planes from a row and a channel on. The channel is a multiple of columns. */
static inline struct winograd_planes winograd_planes_from(const struct winograd_planes *p,
                                                          int64_t row, int64_t channel)
{
    struct winograd_planes from = *p;
    from.first = winograd_planes_at(p, row, channel);
    from.channels -= channel;
    return from;
}

/* Returns the bytes of a value of a map. */
static inline size_t winograd_value_bytes(bool bf16)
{
    return bf16 ? sizeof(uint16_t) : sizeof(float);
}

/* Transforms the first `channels` channels of n tiles of x, from tile `first` on, to v's first
 * rows. Sets the channels up to a multiple of 16 to zeros, as far as v has them. Tiles are numbered
 * through the batch, row by row of each image. */
void winograd_transform_inputs(const struct winograd_shape *s, const void *x, int64_t first,
                               int64_t n, int64_t channels, const struct winograd_planes *v);

/* Transforms m's first n rows, which are the tiles from `first` on, and its first channels, which are
 * the output channels `from` to `until` - 1. Writes them to y, or adds them with `add`. `from` is a
 * multiple of 16, and so is `until` unless it is o. Unless sums is NULL, sets these channels of it,
 * (2, o), to the sums of these tiles' values and of their squares as they are stored, but before
 * rounding to y's type. */
void winograd_transform_outputs(const struct winograd_shape *s, const struct winograd_planes *m,
                                int64_t first, int64_t n, int64_t from, int64_t until, void *y,
                                double *sums, bool add);

/* Transforms the first `channels` channels of the gradients of the outputs of n tiles, from tile
 * `first` on, to d's first rows. Sets the channels up to a multiple of 16 to zeros. d's columns are
 * a multiple of 16. */
void winograd_transform_gradients(const struct winograd_shape *s, const void *dy, int64_t first,
                                  int64_t n, int64_t channels, const struct winograd_planes *d);

/* Transforms m, the sums of products for `rows` outputs and `columns` inputs, to the gradients of
 * the weights. Writes the first `columns` channels of `to` (rows, 9, c), or adds to them with
 * `add`. */
void winograd_transform_products(const struct winograd_planes *m, int64_t rows, int64_t columns,
                                 int64_t c, bool add, float *to);

/* The weights of a convolution in either direction. The taps of a weight are neighbours. */
struct winograd_weights {
    const float *first; /* the first tap of the first input and output */
    int64_t in, out;    /* floats from one input or output to the next; the smaller one is 9 */
    bool backward;      /* inputs are the convolution's outputs, and taps are in reverse order */
    bool bf16;          /* the weights are rounded to bf16 */
};

/* Transforms the weights from w->first on, for at most 16 inputs and 32 outputs, to [16][columns]
 * at each of the 36 positions of packed, which are `position` floats apart. Writes the first
 * `lanes` columns (at most 32); weights that do not exist count as 0. */
void winograd_transform_weights(const struct winograd_weights *w, int64_t inputs, int64_t outputs,
                                int64_t lanes, int64_t columns, int64_t position, float *packed);

#endif
