/* half: 16-bit floats. bf16 is a float32 without the lower half of its bits (sign, 8 bits of
 * exponent, 7 of mantissa); f16 is IEEE 754 binary16.
 *
 * The functions of single values are inline and without branches, so that a loop over them is
 * vectorized for whatever the function around it is compiled for (multiversion.h). */
#ifndef HALF_H
#define HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Returns the float32 of the same value. */
static inline float bf16_widen(uint16_t b)
{
    const uint32_t bits = (uint32_t)b << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Returns the nearest bf16, and of two equally near ones the even one; a value beyond the largest
 * becomes infinity. A NaN becomes a quiet NaN of the same sign, as rounding could carry into its
 * exponent. */
static inline uint16_t bf16_narrow(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    const uint32_t quiet = bits | 0x400000;
    bits = v == v ? rounded : quiet;
    return (uint16_t)(bits >> 16);
}

/* Converts n values; the arrays may not overlap. Widening is exact; NaN and infinities stay what
 * they are. */
void half_widen_bf16(const uint16_t *restrict in, float *restrict out, size_t n);
void half_widen_f16(const uint16_t *restrict in, float *restrict out, size_t n);
void half_narrow_bf16(const float *restrict in, uint16_t *restrict out, size_t n);

#endif
