/* conv_store_vectors: the functions of conv_store.c for vectors of one width. This file is a
 * template. conv_store.c includes it once for each width, after defining
 *
 *   WIDTH         the floats in a vector
 *   TARGET        the attribute that lets a function use such vectors
 *   NAMED(f)      the name of f for this width
 *   DOUBLES_AT(x) the WIDTH / 2 floats at x as a vector of doubles
 *
 * GCC keeps vectors that are wider than the processor's in memory, which takes several times as
 * long as keeping them in registers. So each processor needs functions of its own width. */
#include <stdbool.h>
#include <stdint.h>

#include "base/half.h"

#define FLOATS NAMED(floats)
#define BITS NAMED(bits)
#define HALVES NAMED(halves)
#define DOUBLES NAMED(doubles)

typedef float FLOATS __attribute__((vector_size(WIDTH * 4), aligned(4), may_alias));
typedef uint32_t BITS __attribute__((vector_size(WIDTH * 4)));
typedef uint16_t HALVES __attribute__((vector_size(WIDTH * 2), aligned(2), may_alias));
typedef double DOUBLES __attribute__((vector_size(WIDTH * 4), aligned(8), may_alias));

/* Adds each column's sums of values and squares, (2, columns), in doubles. A variance that is the
 * difference of two such sums then has as many digits as a float, as long as the mean is below some
 * thousand standard deviations. */
TARGET static void NAMED(add_sums)(const float *c, int64_t rows, int64_t columns, double *sums)
{
    int64_t j = 0;
    for (; j + WIDTH <= columns; j += WIDTH) {
        DOUBLES *sum = (DOUBLES *)(sums + j), *square = (DOUBLES *)(sums + columns + j);
        DOUBLES s0 = sum[0], s1 = sum[1], q0 = square[0], q1 = square[1];
        for (int64_t r = 0; r < rows; r++) {
            const DOUBLES x0 = DOUBLES_AT(c + r * columns + j);
            const DOUBLES x1 = DOUBLES_AT(c + r * columns + j + WIDTH / 2);
            s0 += x0;
            s1 += x1;
            q0 += x0 * x0;
            q1 += x1 * x1;
        }
        sum[0] = s0;
        sum[1] = s1;
        square[0] = q0;
        square[1] = q1;
    }
    for (; j < columns; j++)
        for (int64_t r = 0; r < rows; r++) {
            const double x = (double)c[r * columns + j];
            sums[j] += x;
            sums[columns + j] += x * x;
        }
}

/* Stores WIDTH values as bf16, rounded as bf16_narrow() rounds, or adds them. */
TARGET static ALWAYS_INLINE void NAMED(store_vector)(FLOATS x, bool add, uint16_t *to)
{
    if (add)
        x += (FLOATS)(__builtin_convertvector(*(const HALVES *)to, BITS) << 16);
    const BITS bits = (BITS)x, rounded = bits + 0x7fff + (bits >> 16 & 1), nan = (BITS)(x != x);
    const BITS all = (rounded & ~nan) | ((bits | 0x400000) & nan);
    *(HALVES *)to = __builtin_convertvector(all >> 16, HALVES);
}

/* Stores n values of each row r of c at y + place[r], or adds them, and also computes the sums of
 * add_sums() unless sums is NULL. It sums in floats within the block, because values of few digits
 * need no more. */
TARGET static void NAMED(store_bf16)(const float *c, int64_t rows, int64_t columns, int64_t n,
                                     const int64_t *place, bool add, uint16_t *y, double *sums)
{
    int64_t j = 0;
    for (; j + WIDTH <= n; j += WIDTH) {
        FLOATS sum = {0}, square = {0};
        for (int64_t r = 0; r < rows; r++) {
            const FLOATS x = *(const FLOATS *)(c + r * columns + j);
            sum += x;
            square += x * x;
            NAMED(store_vector)(x, add, y + place[r] + j);
        }
        if (sums)
            for (int64_t i = 0; i < WIDTH; i++) {
                sums[j + i] += (double)sum[i];
                sums[columns + j + i] += (double)square[i];
            }
    }
    for (; j < n; j++) {
        float sum = 0, square = 0;
        for (int64_t r = 0; r < rows; r++) {
            const float x = c[r * columns + j];
            uint16_t *to = y + place[r] + j;
            sum += x;
            square += x * x;
            *to = bf16_narrow(x + (add ? bf16_widen(*to) : 0));
        }
        if (sums) {
            sums[j] += (double)sum;
            sums[columns + j] += (double)square;
        }
    }
}

#undef FLOATS
#undef BITS
#undef HALVES
#undef DOUBLES
#undef WIDTH
#undef TARGET
#undef NAMED
#undef DOUBLES_AT
