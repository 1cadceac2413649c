/* The functions of activations.h for maps of bf16. */
#include "base/half.h"

#define ELEMENT uint16_t
#define WIDEN bf16_widen
#define NARROW bf16_narrow
#define KEY int16_t
#define MAPS activations_bf16
#define NAME "bf16"

/* These two functions work like those of activations_fp32.c. */
static inline int16_t key_of(uint16_t bits)
{
    const int ordered = bits ^ ((int16_t)bits >> 15 & 0x7fff);
    return (int16_t)(ordered - 0x7f);
}

static inline uint16_t value_of(int16_t key)
{
    const int16_t ordered = (int16_t)(key + 0x7f);
    return (uint16_t)(ordered ^ (ordered >> 15 & 0x7fff));
}

#include "engine/activation_kernels.h"
