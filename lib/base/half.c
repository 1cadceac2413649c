#include "base/half.h"

#include <string.h>

#include "base/multiversion.h"

MULTIVERSION
void half_widen_bf16(const uint16_t *restrict in, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_widen(in[i]);
}

MULTIVERSION
void half_narrow_bf16(const float *restrict in, uint16_t *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_narrow(in[i]);
}

/* Moving exponent and mantissa to float32's positions gives a number that is 2^112 times too small,
 * because the biases differ by 112. One multiplication corrects that. It is right for subnormals
 * too, since float32's subnormals are exact here. The largest exponent means infinity or NaN and
 * stays the largest. */
MULTIVERSION
void half_widen_f16(const uint16_t *restrict in, float *restrict out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t magnitude = in[i] & 0x7fffu, sign = (uint32_t)(in[i] & 0x8000u) << 16;
        uint32_t bits = magnitude << 13;
        float value;
        memcpy(&value, &bits, sizeof bits);
        value *= 0x1p112f;
        memcpy(&bits, &value, sizeof bits);
        bits |= magnitude >= 0x7c00u ? 0x7f800000u : 0;
        bits |= sign;
        memcpy(&out[i], &bits, sizeof bits);
    }
}
