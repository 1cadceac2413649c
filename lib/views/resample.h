/* resample: the part of an image or series that a view shows, brought to the view's size.
 *
 * Images are resized as PIL's Image.resize(size, BICUBIC, box=...) does it. The bicubic filter
 * (a = -0.5) is widened by the ratio when shrinking, so it averages instead of skipping pixels; near
 * the box's edge it sees the image's pixels beyond the box. PIL rounds to 8 bits between its two
 * passes; here values stay float32 and are only clamped to [0,1] there, which keeps the result
 * within 2/255 of PIL's.
 *
 * Series are interpolated linearly: step i of a view of S steps is at start + i (length - 1) / (S - 1)
 * of the series. */
#ifndef RESAMPLE_H
#define RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "views/operation.h"

/* apply() and scratch() of the `first` operations on images: the drawn values are a struct box, in
 * pixels of the image at full size. The pixels may be there at a reduced size only. */
void resample_box(const void *drawn, const struct operation_canvas *canvas);
size_t resample_box_scratch(const void *drawn, const struct operation_canvas *canvas);

/* apply() of the `first` operations on series: the drawn values are a struct box, of steps. */
void resample_run(const void *drawn, const struct operation_canvas *canvas);

/* A rectangle of an image in fractions of pixels. */
struct area {
    double x, y, w, h;
};

/* The number of floats of scratch that any area of a width x height image needs. Sides are at most
 * 2^15. */
size_t resample_scratch(int width, int height, int size);

/* pixels U8 (height,width,3) -> out F32 (3,size,size) in [0,1]. */
void resample_bicubic(const uint8_t *pixels, int width, int height, struct area area, int size,
                      float *out, float *scratch);

#endif
