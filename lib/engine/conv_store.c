#include "engine/conv_store.h"

#include <string.h>

#include "base/half.h"
#include "base/multiversion.h"

typedef float float8 __attribute__((vector_size(32), aligned(4), may_alias));
typedef float float16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t bits16 __attribute__((vector_size(64)));
typedef uint16_t bf16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef double double8 __attribute__((vector_size(64), aligned(8), may_alias));

/* Adds each column's sums of values and squares, (2, columns), in doubles. A variance that is the
 * difference of two such sums then has as many digits as a float, as long as the mean is below some
 * thousand standard deviations. */
MULTIVERSION static void add_sums(const float *c, int64_t rows, int64_t columns, double *sums)
{
    int64_t j = 0;
    for (; j + 8 <= columns; j += 8) {
        double8 *sum = (double8 *)(sums + j), *square = (double8 *)(sums + columns + j);
        double8 s = *sum, q = *square;
        for (int64_t r = 0; r < rows; r++) {
            const double8 x =
                __builtin_convertvector(*(const float8 *)(c + r * columns + j), double8);
            s += x;
            q += x * x;
        }
        *sum = s;
        *square = q;
    }
    for (; j < columns; j++)
        for (int64_t r = 0; r < rows; r++) {
            const double x = (double)c[r * columns + j];
            sums[j] += x;
            sums[columns + j] += x * x;
        }
}

/* Stores n values of each row r of c at y + place[r], or adds them. */
MULTIVERSION static void store_floats(const float *restrict c, int64_t rows, int64_t columns,
                                      int64_t n, const int64_t *place, bool add, float *restrict y)
{
    for (int64_t r = 0; r < rows; r++, c += columns) {
        float *to = y + place[r];
        if (add)
            for (int64_t j = 0; j < n; j++)
                to[j] += c[j];
        else
            for (int64_t j = 0; j < n; j++)
                to[j] = c[j];
    }
}

/* Does the same for maps of bf16, and also computes the sums of add_sums() unless sums is NULL. It
 * sums in floats within the block, because values of few digits need no more. */
typedef void bf16_store(const float *c, int64_t rows, int64_t columns, int64_t n,
                        const int64_t *place, bool add, uint16_t *y, double *sums);

MULTIVERSION static void store_bf16_portable(const float *c, int64_t rows, int64_t columns,
                                             int64_t n, const int64_t *place, bool add, uint16_t *y,
                                             double *sums)
{
    for (int64_t j = 0; j < columns; j += 16) {
        const int64_t lanes = n - j < 16 ? n - j : 16, width = columns - j < 16 ? columns - j : 16;
        float16 sum = {0}, square = {0};
        for (int64_t r = 0; r < rows; r++) {
            float16 x = {0};
            if (width == 16)
                x = *(const float16 *)(c + r * columns + j);
            else
                memcpy(&x, c + r * columns + j, (size_t)width * sizeof *c);
            uint16_t *to = y + place[r] + j;
            sum += x;
            square += x * x;
            if (lanes == 16 && !add) { /* as bf16_narrow() rounds */
                const bits16 bits = (bits16)x, rounded = bits + 0x7fff + (bits >> 16 & 1);
                const bits16 nan = (bits16)(x != x);
                *(bf16x16 *)to = __builtin_convertvector(
                    ((rounded & ~nan) | ((bits | 0x400000) & nan)) >> 16, bf16x16);
                continue;
            }
            for (int64_t i = 0; i < lanes; i++)
                to[i] = bf16_narrow(x[i] + (add ? bf16_widen(to[i]) : 0));
        }
        for (int64_t i = 0; sums && i < width; i++) {
            sums[j + i] += (double)sum[i];
            sums[columns + j + i] += (double)square[i];
        }
    }
}

#if defined(__x86_64__)
#include <immintrin.h>

static inline __attribute__((always_inline, target("avx512f,avx512dq"))) void
add_doubles(double *to, __m512 x)
{
    const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
    const __m512d high = _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1));
    _mm512_storeu_pd(to, _mm512_add_pd(_mm512_loadu_pd(to), low));
    _mm512_storeu_pd(to + 8, _mm512_add_pd(_mm512_loadu_pd(to + 8), high));
}

/* Stores 32 columns at a time, which one instruction rounds. Denormals become zeros. */
__attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16"))) static void
store_bf16_avx512(const float *c, int64_t rows, int64_t columns, int64_t n, const int64_t *place,
                  bool add, uint16_t *y, double *sums)
{
    for (int64_t j = 0; j < columns; j += 32) {
        const __mmask32 lanes = n - j >= 32 ? ~0U : n > j ? (1U << (n - j)) - 1 : 0;
        __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0, square0 = sum0, square1 = sum0;
        for (int64_t r = 0; r < rows; r++) {
            __m512 x0 = _mm512_load_ps(c + r * columns + j);
            __m512 x1 = _mm512_load_ps(c + r * columns + j + 16);
            uint16_t *to = y + place[r] + j;
            sum0 = _mm512_add_ps(sum0, x0);
            sum1 = _mm512_add_ps(sum1, x1);
            square0 = _mm512_fmadd_ps(x0, x0, square0);
            square1 = _mm512_fmadd_ps(x1, x1, square1);
            if (add) {
                const __m512i old = _mm512_maskz_loadu_epi16(lanes, to);
                const __m512i low = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(old));
                const __m512i high = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(old, 1));
                x0 = _mm512_add_ps(x0, _mm512_castsi512_ps(_mm512_slli_epi32(low, 16)));
                x1 = _mm512_add_ps(x1, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
            }
            const __m512i rounded = (__m512i)_mm512_cvtne2ps_pbh(x1, x0);
            if (lanes == ~0U) /* a store with a mask is slow, even with a full one */
                _mm512_storeu_si512(to, rounded);
            else
                _mm512_mask_storeu_epi16(to, lanes, rounded);
        }
        if (!sums)
            continue;
        add_doubles(sums + j, sum0);
        add_doubles(sums + j + 16, sum1);
        add_doubles(sums + columns + j, square0);
        add_doubles(sums + columns + j + 16, square1);
    }
}
#endif

/* Returns the function that stores values as bf16. A kernel of bf16 runs only on machines that also
 * have an instruction that rounds to bf16 (gemm_kernel.h). Kernels of floats do not need it. */
static bf16_store *choose_store_bf16(const struct gemm_kernel *product)
{
#if defined(__x86_64__)
    if (product->values == GEMM_BF16 && product->columns % 32 == 0)
        return store_bf16_avx512;
#endif
    (void)product;
    return store_bf16_portable;
}

void conv_store(const struct precision *v, const float *c, int64_t rows, int64_t n,
                const int64_t *place, bool add, void *y, double *sums)
{
    const int64_t columns = v->product->columns;
    if (v->bf16_maps) {
        choose_store_bf16(v->product)(c, rows, columns, n, place, add, y, sums);
        return;
    }
    store_floats(c, rows, columns, n, place, add, y);
    if (sums)
        add_sums(c, rows, columns, sums);
}
