/* gemm_kernel: the block product from which convolutions, their gradients and the loss are built.
 *
 * A block is C (rows, columns), with few enough rows and columns for a machine's registers. It is a
 * sum over steps. In each step, every row of A and every column of B has `depth` values, which are
 * 64 bytes of a row of A:
 *
 *   C[r][j] = sum over steps s, sum over k < depth of A_s[r][k] B_s[k][j]
 *
 * Row r of A_s begins at a + s.a + r * a_row. B_s begins at b + s.b and is packed: floats as
 * [depth][columns], bf16 as [depth / 2][columns][2], pairs of k side by side as matrix units read
 * them. Because a step may begin anywhere, the taps of a convolution are plain offsets, and no
 * matrix of gathered pixels (im2col) is needed.
 *
 * Each value of C is summed in the same order whatever its row, so the result of a row never
 * depends on the rows beside it. Sums are float32. Different kernels round differently.
 *
 * The contract. A kernel has
 *
 *   rows      1 to GEMM_KERNEL_ROWS
 *   columns   1 to GEMM_KERNEL_COLUMNS
 *             rows * columns is a multiple of 16, so that blocks that follow each other in memory
 *             are all aligned to 64 bytes
 *   depth     16 floats or 32 bf16
 *   usable()  for bf16 on x86-64 true only on machines with AVX512-BF16, because the code that
 *             stores the blocks (conv_store.h) uses its instructions as well
 *
 * gemm_kernel_check() checks this. A kernel may rely on the following:
 *
 *   a         is aligned to a value, as are a_row and every s.a: loads of A are unaligned ones
 *   b, s.b    are multiples of 4 * columns bytes (a row of floats, a pair of rows of bf16), so B_s
 *             is aligned to 64 bytes if columns is a multiple of 16
 *   c         is aligned to 64 bytes and has room for the whole block; it overlaps neither A nor B
 *   memory    all `rows` rows of A and all `columns` columns of B can be read at every step, also
 *             those whose results are not used. These may hold any value: a NaN in such a row or
 *             column spoils that row or column of C alone. Where some of a step's k are not used,
 *             the caller sets A or B to zero there and the other one to finite values.
 *
 * A kernel writes all of C (zeros if there are no steps), and nothing else. */
#ifndef GEMM_KERNEL_H
#define GEMM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    GEMM_KERNEL_ROWS = 32,    /* largest number of rows of a block */
    GEMM_KERNEL_COLUMNS = 32, /* largest number of columns of a block */
    GEMM_KERNEL_BYTES = 64    /* bytes of a row of A in a step */
};

/* The byte offsets of the operands of a step. */
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
    bool matrix_unit;        /* it is many times as fast as vectors of floats */
    /* A thread calls begin() before its first block and end() after its last one. */
    void (*begin)(void);
    void (*end)(void);
    /* Overwrites c (rows, columns) with the sum over n_steps steps, which may be 0. */
    void (*block)(const void *a, size_t a_row, const void *b, const struct gemm_step *steps,
                  int64_t n_steps, float *c);
    /* The same where A lies across: the values of all rows for one k are neighbours, for bf16 the
     * pairs. Those of k + 1, or of the next pair, are a_next bytes on. NULL in a kernel of bf16 for
     * a matrix unit, which can only read A along its rows. */
    void (*across)(const void *a, size_t a_next, const void *b, const struct gemm_step *steps,
                   int64_t n_steps, float *c);
};

/* Returns 0 if the kernel keeps the contract, else -1 with a message that names the kernel and the
 * defect. Code that uses a kernel calls this when it starts. */
int gemm_kernel_check(const struct gemm_kernel *k);

/* Returns the kernel of this name, for example "fp32-avx2", even if this machine cannot run it.
 * Returns NULL if there is none on this kind of processor. */
const struct gemm_kernel *gemm_kernel_find(const char *name);

/* Returns the fastest kernel for these values that this machine can run. Returns NULL if there is
 * none, which is possible for bf16 only. */
const struct gemm_kernel *gemm_kernel_choose(enum gemm_values values);

/* Returns kernel number i, counted from 0 in the order of speed, or NULL after the last one. */
const struct gemm_kernel *gemm_kernel_at(int64_t i);

/* The names of all kernels in the order of speed; NULL ends the list. */
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
