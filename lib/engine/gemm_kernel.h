/* gemm_kernel: the block product that convolutions, their gradients and the loss are made of.
 *
 * A block is C (rows, columns), a few rows and columns that a machine's registers can hold. It is a
 * sum over steps; in each, every row of A and every column of B bring `depth` values, which are 64
 * bytes of a row of A:
 *
 *   C[r][j] = sum over steps s, sum over k < depth of A_s[r][k] B_s[k][j]
 *
 * Row r of A_s begins at a + s.a + r * a_row. B_s begins at b + s.b and is packed: floats as
 * [depth][columns], bf16 as [depth / 2][columns][2], pairs of k side by side as matrix units take
 * them. Because a step may begin anywhere, the taps of a convolution are plain offsets: no matrix
 * of gathered pixels is needed.
 *
 * Each value of C is summed in the same order whatever its row, so what a row gives never depends
 * on the rows beside it. Sums are float32. Different kernels round differently.
 *
 * The contract. A kernel has
 *
 *   rows      1 to GEMM_KERNEL_ROWS
 *   columns   1 to GEMM_KERNEL_COLUMNS
 *             rows * columns is a multiple of 16, so that blocks that follow each other in memory
 *             are all aligned to 64 bytes
 *   depth     16 floats or 32 bf16
 *   usable()  for bf16 on x86-64 true only on machines with AVX512-BF16: what stores the blocks
 *             (conv_store.h) uses its instructions as well
 *
 * gemm_kernel_check() tells whether it does. A kernel may count on
 *
 *   a         aligned to a value, as are a_row and every s.a: loads of A are unaligned ones
 *   b, s.b    multiples of 4 * columns bytes (a row of floats, a pair of rows of bf16); so B_s is
 *             aligned to 64 bytes if columns is a multiple of 16
 *   c         aligned to 64 bytes, with room for the whole block; it overlaps neither A nor B
 *   memory    all `rows` rows of A and all `columns` columns of B can be read at every step, those
 *             that do not matter as well. These may hold anything: a NaN in such a row or column
 *             spoils that row or column of C alone. Where some of a step's k do not matter, the
 *             caller makes A or B zero there and the other one finite.
 *
 * and it writes all of C, even without steps (zeros), and nothing else. */
#ifndef GEMM_KERNEL_H
#define GEMM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GEMM_KERNEL_ROWS = 32,    /* of a block, at most */
    GEMM_KERNEL_COLUMNS = 32, /* of a block, at most */
    GEMM_KERNEL_BYTES = 64    /* of a row of A in a step */
};

/* Byte offsets of the operands of a step. */
struct gemm_step {
    ptrdiff_t a, b;
};

enum gemm_values { GEMM_FLOAT, GEMM_BF16 };

struct gemm_kernel {
    const char *name;
    enum gemm_values values; /* of A and B */
    int64_t rows, columns;   /* of a block */
    int64_t depth;           /* values in 64 bytes: 16 floats, 32 bf16 */
    bool (*usable)(void);    /* returns true if this machine has the instructions */
    bool matrix_unit;        /* many times as fast as vectors of floats */
    /* A thread calls begin() before its first block and end() after its last one. */
    void (*begin)(void);
    void (*end)(void);
    /* Overwrites c (rows, columns) with the sum over n_steps steps, which may be 0. */
    void (*block)(const void *a, size_t a_row, const void *b, const struct gemm_step *steps,
                  int64_t n_steps, float *c);
};

/* Returns 0 if the kernel keeps the contract, else -1 with a message that names the kernel and the
 * defect. Users of kernels call this when they start. */
int gemm_kernel_check(const struct gemm_kernel *k);

/* Returns the kernel of this name, "fp32-avx2" for example, whether or not this machine can run it;
 * NULL if there is none on this kind of processor. */
const struct gemm_kernel *gemm_kernel_find(const char *name);

/* Returns the fastest kernel for these values that this machine can run; NULL if there is none,
 * which can be so for bf16 alone. */
const struct gemm_kernel *gemm_kernel_choose(enum gemm_values values);

/* Returns kernel number i, from 0 on in the order of speed; NULL after the last one. */
const struct gemm_kernel *gemm_kernel_at(int64_t i);

/* The names of all kernels in the same order; ends with NULL. */
extern const char *const gemm_kernel_names[];

/* Returns the bytes of a value of A or B. */
static inline size_t gemm_kernel_value_bytes(const struct gemm_kernel *k)
{
    return k->values == GEMM_BF16 ? sizeof(uint16_t) : sizeof(float);
}

/* Returns the bytes of one packed step of B. */
static inline size_t gemm_kernel_step_bytes(const struct gemm_kernel *k)
{
    return (size_t)(k->columns * GEMM_KERNEL_BYTES);
}

/* Returns the floats of a block of C. */
static inline size_t gemm_kernel_block_floats(const struct gemm_kernel *k)
{
    return (size_t)(k->rows * k->columns);
}

#endif
