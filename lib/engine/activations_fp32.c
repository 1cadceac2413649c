/* The functions of activations.h for maps of float32. */
#include <stdint.h>
#include <string.h>

#define ELEMENT float
#define WIDEN(value) (value)
#define NARROW(value) (value)
#define KEY int32_t
#define MAPS activations_fp32
#define NAME "fp32"

/* Returns the key of a value. The bits of positive floats, read as integers, grow with the floats.
 * Those of negative floats do so if all bits but the sign are inverted. The order from the lowest
 * is then: negative NaNs, negative infinity, all numbers, infinity, NaNs. Subtracting the number of
 * negative NaNs makes the negative NaNs wrap around to the top. */
static inline int32_t key_of(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    const uint32_t ordered = bits ^ ((uint32_t)((int32_t)bits >> 31) & 0x7fffffff);
    return (int32_t)(ordered - 0x7fffff);
}

static inline float value_of(int32_t key)
{
    const int32_t ordered = (int32_t)((uint32_t)key + 0x7fffff);
    const int32_t bits = ordered ^ (ordered >> 31 & 0x7fffffff);
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

#include "engine/activation_kernels.h"
