/* resample: resizes the part of an image or series that a view shows to the size of the view.
 *
 * Images are resized as PIL's Image.resize(size, BICUBIC, box=...) does it. For shrinking, the
 * bicubic filter (a = -0.5) is widened by the ratio, so it averages instead of skipping pixels.
 * Near the box's edge it reads the image's pixels beyond the box. PIL rounds to 8 bits between its
 * two passes. Here values stay float32 and are only clamped to [0,1] between the passes, which
 * keeps the result within 2/255 of PIL's.
 *
 * Series are interpolated linearly: step i of a view of S steps is at start + i (length - 1) / (S -
 * 1) of the series. */
#ifndef RESAMPLE_H
#define RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "data/image.h"
#include "views/operation.h"

/* Resizes a box of an image, as apply() and scratch() of the `first` operations on images. The
 * drawn values are a struct box, in pixels of the image at full size; the image may have been
 * decoded at a reduced size. */
void resample_box(const void *drawn, const struct operation_canvas *canvas);
size_t resample_box_scratch(const void *drawn, const struct operation_canvas *canvas);

/* Resizes a run of steps, as apply() of the `first` operations on series. The drawn values are a
 * struct box, in steps. */
void resample_run(const void *drawn, const struct operation_canvas *canvas);

/* A rectangle of an image, in pixels and fractions of pixels. */
struct area {
    double x, y, w, h;
};

/* Returns the number of floats of scratch memory that any area of a width x height image needs.
 * Sides are at most 2^15. */
size_t resample_scratch(int width, int height, int size);

/* Resizes an area of pixels (height,width,channels) of that kind to out F32 (channels,size,size) in
 * [0,1]. */
void resample_bicubic(const uint8_t *pixels, struct image_kind kind, int width, int height,
                      struct area area, int size, float *out, float *scratch);

#endif
