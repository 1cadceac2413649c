/* gemm_8x12: a kernel of block products with a shape that no machine's kernel has (gemm_kernel.h).
 * Tests use it to check that code that claims to accept kernels of any shape does so. */
#ifndef GEMM_8X12_H
#define GEMM_8X12_H

#include "engine/gemm_kernel.h"

static bool gemm_8x12_usable(void)
{
    return true;
}

static void gemm_8x12_nothing(void)
{
}

static void gemm_8x12_block(const void *a, size_t a_row, const void *b,
                            const struct gemm_step *steps, int64_t n_steps, float *c)
{
    for (int r = 0; r < 8; r++)
        for (int j = 0; j < 12; j++) {
            float sum = 0;
            for (int64_t s = 0; s < n_steps; s++) {
                const float *row =
                    (const float *)((const char *)a + (size_t)r * a_row + steps[s].a);
                const float *packed = (const float *)((const char *)b + steps[s].b);
                for (int k = 0; k < 16; k++)
                    sum += row[k] * packed[k * 12 + j];
            }
            c[r * 12 + j] = sum;
        }
}

static void gemm_8x12_across(const void *a, size_t a_next, const void *b,
                             const struct gemm_step *steps, int64_t n_steps, float *c)
{
    for (int r = 0; r < 8; r++)
        for (int j = 0; j < 12; j++) {
            float sum = 0;
            for (int64_t s = 0; s < n_steps; s++) {
                const float *packed = (const float *)((const char *)b + steps[s].b);
                for (size_t k = 0; k < 16; k++)
                    sum += ((const float *)((const char *)a + steps[s].a + k * a_next))[r] *
                           packed[k * 12 + (size_t)j];
            }
            c[r * 12 + j] = sum;
        }
}

static const struct gemm_kernel gemm_8x12 = {.name = "fp32-8x12",
                                             .values = GEMM_FLOAT,
                                             .rows = 8,
                                             .columns = 12,
                                             .depth = 16,
                                             .usable = gemm_8x12_usable,
                                             .begin = gemm_8x12_nothing,
                                             .end = gemm_8x12_nothing,
                                             .block = gemm_8x12_block,
                                             .across = gemm_8x12_across};

#endif
