/* conv_shape: the sizes of a convolution. */
#ifndef CONV_SHAPE_H
#define CONV_SHAPE_H

#include <stdbool.h>
#include <stdint.h>

struct conv_shape {
    int64_t images, h, w, c;         /* input */
    int64_t oh, ow, o;               /* output */
    int64_t kernel, stride, padding; /* kernel: at most 11 */
    int64_t grains;                  /* divide images */
    bool row; /* the kernel is one row high, and padding is left and right alone: for series */
};

/* Of the kernel, its height and the padding above and below; its width is `kernel`. */
static inline int64_t conv_rows(const struct conv_shape *s)
{
    return s->row ? 1 : s->kernel;
}

static inline int64_t conv_row_padding(const struct conv_shape *s)
{
    return s->row ? 0 : s->padding;
}

#endif
