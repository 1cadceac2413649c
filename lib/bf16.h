/* bf16: a float32 without the lower half of its bits: sign, 8 bits of exponent, 7 of mantissa.
 *
 * Inline and free of branches, so that loops over them are vectorized for whatever the function
 * around them is compiled for (clones.h). */
#ifndef BF16_H
#define BF16_H

#include <stdint.h>
#include <string.h>

/* Exact. */
static inline float bf16_widen(uint16_t b)
{
    const uint32_t bits = (uint32_t)b << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* The nearest bf16, of two equally near ones the even one; what lies beyond the largest becomes
 * infinity. A NaN becomes a quiet NaN of its sign: rounding could carry into its exponent. */
static inline uint16_t bf16_narrow(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const uint32_t rounded = bits + 0x7fff + (bits >> 16 & 1);
    const uint32_t quiet = bits | 0x400000;
    bits = v == v ? rounded : quiet;
    return (uint16_t)(bits >> 16);
}

#endif
