/* vector_math: functions that the compiler can vectorize, for inner loops. */
#ifndef VECTOR_MATH_H
#define VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

/* e^x to about 1e-7 relative, for x up to 88; 0 below -87. The range is reduced to r = x - n ln 2
 * with |r| <= ln(2)/2, where the Taylor polynomial of degree 7 is exact to float. */
static inline float exp_float(float x)
{
    float clamped = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    float shifted = clamped * 1.44269504f + 12582912.0f; /* adds 1.5 x 2^23: rounds to an integer */
    uint32_t n;
    memcpy(&n, &shifted, sizeof n);
    float rounded = shifted - 12582912.0f;
    float r = clamped - rounded * 0.693359375f; /* ln 2 in two parts, the first one short */
    r = r + rounded * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits = (n - 0x4b400000u + 127u) << 23; /* unsigned: for a NaN it may overflow */
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return x < -87.0f ? 0.0f : p * scale;
}

#endif
