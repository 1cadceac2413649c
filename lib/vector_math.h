/* vector_math: functions that the compiler can vectorize, for inner loops. */
#ifndef VECTOR_MATH_H
#define VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

/* 2^x to 1e-7 relative, for x up to 127; 0 below -126; NaN for NaN. With n the integer nearest to
 * x, this is 2^n times a polynomial for 2^(x - n) whose largest error on [-1/2, 1/2] is smallest
 * (Remez's algorithm in float64). Adding 1.5 x 2^23 rounds to an integer; 127 more makes its lowest
 * bits the exponent of 2^n. */
static inline float exp2_float(float x)
{
    const float round = 12582912.0f + 127.0f;
    float shifted = x + round, f = x - (shifted - round);
    float p = 1.53458125e-4f;
    p = p * f + 1.33999309e-3f;
    p = p * f + 9.61848907e-3f;
    p = p * f + 5.55032864e-2f;
    p = p * f + 2.40226462e-1f;
    p = p * f + 6.93147182e-1f;
    p = p * f + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return x < -126.0f ? 0.0f : p * scale;
}

#endif
