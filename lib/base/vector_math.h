/* vector_math: elementary functions without branches, which the compiler can vectorize. */
#ifndef VECTOR_MATH_H
#define VECTOR_MATH_H

#include <stdint.h>
#include <string.h>

/* Returns 2^x with a relative error of at most 1e-7 for x up to 127, 0 for x below -126, and NaN
 * for NaN. With n the integer nearest to x, the result is 2^n times a polynomial for 2^(x - n). The
 * polynomial's coefficients minimize the largest error on [-1/2, 1/2] (Remez's algorithm in
 * float64). Adding 1.5 x 2^23 rounds x to an integer; adding 127 as well makes its lowest bits the
 * exponent of 2^n. */
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

/* Returns ln x for normal x above 0. The error is at most 2e-7 of the larger of |ln x| and 1/2. x
 * is 2^e m with m from sqrt(1/2) to sqrt(2), and ln m = 2 artanh t with t = (m - 1) / (m + 1). */
static inline float log_float(float x)
{
    const int32_t root_of_half = 0x3f3504f3; /* its bits */
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const int32_t e = (bits - root_of_half) >> 23;
    bits -= e * (1 << 23);
    float m;
    memcpy(&m, &bits, sizeof m);
    const float t = (m - 1.0f) / (m + 1.0f), tt = t * t;
    float p = 1.0f / 9.0f;
    p = p * tt + 1.0f / 7.0f;
    p = p * tt + 1.0f / 5.0f;
    p = p * tt + 1.0f / 3.0f;
    p = p * tt + 1.0f;
    return (float)e * 0.693147181f + 2.0f * t * p;
}

/* Returns ln(1 + x) with a relative error of at most 2e-7, for x from 0 to 1. It computes 2 artanh
 * t with t = x / (2 + x), which is at most 1/3. */
static inline float log1p_float(float x)
{
    const float t = x / (2.0f + x), tt = t * t;
    float p = 1.0f / 15.0f;
    p = p * tt + 1.0f / 13.0f;
    p = p * tt + 1.0f / 11.0f;
    p = p * tt + 1.0f / 9.0f;
    p = p * tt + 1.0f / 7.0f;
    p = p * tt + 1.0f / 5.0f;
    p = p * tt + 1.0f / 3.0f;
    p = p * tt + 1.0f;
    return 2.0f * t * p;
}

/* Computes the cosine and sine of an angle of `turns` full turns, with turns from 0 to 1, to 1e-6.
 * The angle is shifted to the range from -pi to pi; Taylor's series gives the values for a quarter
 * of it, which is then doubled twice. */
static inline void cosine_sine_float(float turns, float *cosine, float *sine)
{
    const float a = (turns - 0.5f) * 1.57079633f, aa = a * a;
    const float s =
        a * (1.0f +
             aa * (-1.0f / 6.0f + aa * (1.0f / 120.0f + aa * (-1.0f / 5040.0f + aa / 362880.0f))));
    const float c =
        1.0f + aa * (-0.5f + aa * (1.0f / 24.0f + aa * (-1.0f / 720.0f + aa / 40320.0f)));
    const float s2 = 2.0f * s * c, c2 = 1.0f - 2.0f * s * s;
    /* The angle was shifted by half a turn, which changes both signs. */
    *sine = -2.0f * s2 * c2;
    *cosine = 2.0f * s2 * s2 - 1.0f;
}

#endif
