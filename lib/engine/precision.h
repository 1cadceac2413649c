/* precision: the types of the numbers that a convolution reads, multiplies and writes, with the
 * sizes and the steps of block products (gemm_kernel.h) that follow from them. */
#ifndef PRECISION_H
#define PRECISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/gemm_kernel.h"

/* The type of the values of feature maps, and the kernel that multiplies them. The kernel's type is
 * that of the maps, with two exceptions: it may be float where maps are bf16, and with `split` it
 * is bf16 where maps are floats. A float is then the sum of two bf16 numbers, a high and a low
 * half. */
struct precision {
    const struct gemm_kernel *product;
    bool bf16_maps; /* feature maps and their gradients are bf16, else floats */
    bool split;
};

/* Returns the bytes of a value of a feature map. */
static inline size_t precision_map_bytes(const struct precision *v)
{
    return v->bf16_maps ? sizeof(uint16_t) : sizeof(float);
}

/* Returns the number of values that the kernel reads for one value of a map: 2 halves of a split
 * float, else 1. */
static inline int64_t precision_halves(const struct precision *v)
{
    return v->split ? 2 : 1;
}

/* Returns the number of kernel steps for one step over values. Split values take three: the
 * products high high, high low and low high. */
static inline int64_t precision_steps(const struct precision *v)
{
    return v->split ? 3 : 1;
}

/* Appends to n steps those for values at offsets at.a and at.b, whose low halves are a_half and
 * b_half bytes after the high ones. Returns the new number of steps. */
static inline int64_t precision_add_steps(const struct precision *v, struct gemm_step *steps,
                                          int64_t n, struct gemm_step at, size_t a_half,
                                          size_t b_half)
{
    steps[n++] = at;
    if (v->split) {
        steps[n++] = (struct gemm_step){at.a, at.b + (ptrdiff_t)b_half};
        steps[n++] = (struct gemm_step){at.a + (ptrdiff_t)a_half, at.b};
    }
    return n;
}

#endif
