/* conv_shape: the sizes of a convolution. */
#ifndef CONV_SHAPE_H
#define CONV_SHAPE_H

#include <stdint.h>

struct conv_shape {
    int64_t images, h, w, c;         /* input */
    int64_t oh, ow, o;               /* output */
    int64_t kernel, stride, padding; /* kernel: at most 11 */
    int64_t grains;                  /* divide images */
};

#endif
