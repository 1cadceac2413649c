/* shapes: the sizes that an engine's functions are given (engine.h). Feature maps are NHWC without
 * gaps: (images, h, w, c), channels last. */
#ifndef SHAPES_H
#define SHAPES_H

#include <stdbool.h>
#include <stdint.h>

/* A convolution of x (images, h, w, c) to y (images, oh, ow, o), where
 * oh = (h + 2 padding - kernel) / stride + 1, and ow likewise. */
struct conv_shape {
    int64_t images, h, w, c; /* of the input */
    int64_t oh, ow, o;       /* of the output */
    int64_t kernel;          /* the window's height and width, 1 to 11 */
    int64_t stride;          /* pixels from one window to the next */
    int64_t padding;         /* rows and columns of zeros around the map */
    int64_t grains;          /* number of parts of a sum over images; divides images */
    bool row;                /* for series: the window is one row high, and the padding is only to
                                the left and to the right */
};

/* Return the window's height, and the rows of padding above and below. The window's width is
 * `kernel`. */
static inline int64_t conv_rows(const struct conv_shape *s)
{
    return s->row ? 1 : s->kernel;
}

static inline int64_t conv_row_padding(const struct conv_shape *s)
{
    return s->row ? 0 : s->padding;
}

/* A map (images, pixels, c), as norms, the average pool and selective kernels read it. */
struct norm_shape {
    int64_t images;
    int64_t pixels; /* h x w */
    int64_t c;
    int64_t grains; /* divides images */
};

/* A pool of windows over x (images, h, w, c) to y (images, oh, ow, c), where
 * oh = (h + 2 padding - kernel) / stride + 1, and ow likewise. */
struct pool_shape {
    int64_t images, h, w, c, oh, ow;
    int64_t kernel;  /* the window's height and width, 1 to 3 */
    int64_t stride;  /* pixels from one window to the next */
    int64_t padding; /* less than kernel */
};

/* The coefficients of a norm, (c) each: norm(x) = (x - mean) scale + bias. */
struct norm_channels {
    const float *mean, *scale, *bias;
};

#endif
