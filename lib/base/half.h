/* half: conversion of 16-bit floats. bf16 is a float32 without the lower half of its bits (sign, 8
 * bits of exponent, 7 of mantissa); f16 is IEEE 754 binary16.
 *
 * The functions for single values are inline and free of branches, so that the compiler vectorizes
 * a loop over them for the instruction set of the enclosing function (multiversion.h). */
#ifndef HALF_H
#define HALF_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Returns the float32 with the same value. */
static inline float bf16_widen(uint16_t b)
{
    const uint32_t bits = (uint32_t)b << 16;
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* Returns the nearest bf16; ties go to the even one, and a value beyond the largest bf16 becomes
 * infinity. A NaN becomes a quiet NaN of the same sign, because rounding could carry into its
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

/* Convert n values each; the arrays must not overlap. Widening is exact and keeps NaN and
 * infinities. */
void half_widen_bf16(const uint16_t *restrict in, float *restrict out, size_t n);
void half_widen_f16(const uint16_t *restrict in, float *restrict out, size_t n);
void half_narrow_bf16(const float *restrict in, uint16_t *restrict out, size_t n);

#endif
