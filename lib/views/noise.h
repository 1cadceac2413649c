/* noise: Gaussian noise that is a function of a Philox key and counter alone.
 *
 * Pixel i of the view, counted along its rows, takes the block that Philox4x32-10 makes of the
 * counter with i added to its first word. Its words u0 to u3, as fractions f = (u >> 8) / 2^24, are
 * the polar coordinates of its normals (Box and Muller 1958):
 *
 *   red    sqrt(-2 ln(1 - f0)) cos(2 pi f1)
 *   green  sqrt(-2 ln(1 - f0)) sin(2 pi f1)
 *   blue   sqrt(-2 ln(1 - f2)) cos(2 pi f3) */
#ifndef NOISE_H
#define NOISE_H

#include <stddef.h>
#include <stdint.h>

/* Each value x of a series F32 (n) becomes x + sigma * normal, that of pixel i's red, and is not
 * clamped. n up to 2^28. */
void noise_add_series(float *x, size_t n, float sigma, const uint32_t counter[4],
                      const uint32_t key[2]);

/* Each value x of rgb F32 (3,n) becomes x + sigma * normal, clamped to [0,1]. n up to 2^28. */
void noise_add(float *rgb, size_t n, float sigma, const uint32_t counter[4], const uint32_t key[2]);

#endif
