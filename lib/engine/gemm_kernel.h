/* gemm_kernel: the block product that convolutions, their gradients and the loss are made of.
 *
 * A block is C (rows, columns), a few rows and columns that a machine's registers can hold. It is a
 * sum over steps; in each, every row of A and every column of B bring `depth` values, which are 64
 * bytes of a row of A:
 *
 *   C[r][j] = sum over steps s, sum over k < depth of A_s[r][k] B_s[k][j]
 *
 * Row r of A_s lies at a + r * a_row + s.a. B_s lies at b + s.b, packed: for floats
 * [depth][columns], for bf16 [depth / 2][columns][2], pairs of k side by side as matrix units take
 * them. Steps that start anywhere make a convolution's taps plain offsets: no matrix of gathered
 * pixels is needed.
 *
 * Each value of C is summed in the same order whatever its row, so what a row gives never depends
 * on the rows beside it. Sums are float32. Different kernels round differently. */
#ifndef GEMM_KERNEL_H
#define GEMM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Byte offsets of a step's parts. b is a multiple of 64; a of the size of a value. */
struct gemm_step {
    ptrdiff_t a, b;
};

enum gemm_values { GEMM_FLOAT, GEMM_BF16 };

struct gemm_kernel {
    const char *name;
    enum gemm_values values; /* of A and B */
    int64_t rows, columns;   /* of a block */
    int64_t depth;           /* values in 64 bytes: 16 floats, 32 bf16 */
    bool (*usable)(void);    /* this machine has the instructions */
    bool matrix_unit;        /* many times as fast as vectors of floats */
    /* What a thread does before its first block and after its last. */
    void (*begin)(void);
    void (*end)(void);
    /* c (rows, columns), 64-byte aligned, is overwritten. b is 64-byte aligned. All rows of A are
     * read, so where fewer matter there must be memory behind them. steps may be 0. */
    void (*block)(const void *a, size_t a_row, const void *b, const struct gemm_step *steps,
                  int64_t n_steps, float *c);
};

/* "fp32-avx512", "fp32-avx2", "fp32-portable", "bf16-amx", "bf16-avx512", whether or not this
 * machine can run it; NULL for any other name or another processor's. */
const struct gemm_kernel *gemm_kernel_find(const char *name);

/* The fastest one for these values that this machine can run; NULL if there is none (bf16). */
const struct gemm_kernel *gemm_kernel_choose(enum gemm_values values);

/* All names, in the order of speed, for tests and --help; ends with NULL. */
extern const char *const gemm_kernel_names[];

/* Bytes of one packed step of B. */
static inline size_t gemm_kernel_step_bytes(const struct gemm_kernel *p)
{
    return (size_t)(p->columns * 64);
}

#endif
