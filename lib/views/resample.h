/* resample: a box of an image, resized as PIL's Image.resize(size, BICUBIC, box=...) does it.
 *
 * The bicubic filter (a = -0.5) is widened by the ratio when shrinking, so it averages instead of
 * skipping pixels; near the box's edge it sees the image's pixels beyond the box. PIL rounds to 8
 * bits between its two passes; here values stay float32 and are only clamped to [0,1] there, which
 * keeps the result within 2/255 of PIL's. */
#ifndef RESAMPLE_H
#define RESAMPLE_H

#include <stddef.h>
#include <stdint.h>

/* In pixels of the image; lies wholly inside it, w and h at least 1. */
struct box {
    int x, y, w, h;
};

/* The same, in pixels of an image that may be there at a reduced size only: fractions. */
struct area {
    double x, y, w, h;
};

/* Number of floats of scratch that any box of a width x height image needs. Sides up to 2^15. */
size_t resample_scratch(int width, int height, int size);

/* pixels U8 (height,width,3) -> out F32 (3,size,size) in [0,1]. */
void resample_bicubic(const uint8_t *pixels, int width, int height, struct area area, int size,
                      float *out, float *scratch);

#endif
