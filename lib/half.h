/* half: arrays of 16-bit floats, widened to float32 (exact) and narrowed (bf16.h). */
#ifndef HALF_H
#define HALF_H

#include <stddef.h>
#include <stdint.h>

/* n values of bf16 (the upper half of a float32) or of IEEE 754 binary16; NaN and infinities stay
 * what they are. The arrays may not overlap. */
void widen_bf16(const uint16_t *restrict in, float *restrict out, size_t n);
void widen_f16(const uint16_t *restrict in, float *restrict out, size_t n);
void narrow_bf16(const float *restrict in, uint16_t *restrict out, size_t n);

#endif
