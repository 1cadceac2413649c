#include "engine/conv_store.h"

#include "base/isa.h"
#include "base/multiversion.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* Vectors of 16 bytes, which all processors have. */
#define WIDTH 4
#define TARGET
#define NAMED(f) f##_portable
#define DOUBLES_AT(x) ((doubles_portable){(double)*(x), (double)*((x) + 1)})
#include "engine/conv_store_vectors.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define WIDTH 8
#define TARGET __attribute__((target("avx2,fma")))
#define NAMED(f) f##_avx2
#define DOUBLES_AT(x) ((doubles_avx2)_mm256_cvtps_pd(_mm_loadu_ps(x)))
#include "engine/conv_store_vectors.h"

#define WIDTH 16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#define NAMED(f) f##_avx512
#define DOUBLES_AT(x) ((doubles_avx512)_mm512_cvtps_pd(_mm256_loadu_ps(x)))
#include "engine/conv_store_vectors.h"
#endif

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

#if defined(__x86_64__)

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
store_bf16_rounding(const float *c, int64_t rows, int64_t columns, int64_t n, const int64_t *place,
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

/* Stores as store_bf16_WIDTH() does. A kernel of bf16 runs only on machines that also have an
 * instruction that rounds to bf16 (gemm_kernel.h). Kernels of floats do not need it. */
static void store_bf16(const struct precision *v, const float *c, int64_t rows, int64_t n,
                       const int64_t *place, bool add, uint16_t *y, double *sums)
{
    const int64_t columns = v->product->columns;
#if defined(__x86_64__)
    if (v->product->values == GEMM_BF16 && columns % 32 == 0)
        store_bf16_rounding(c, rows, columns, n, place, add, y, sums);
    else if (isa_has(ISA_AVX512))
        store_bf16_avx512(c, rows, columns, n, place, add, y, sums);
    else if (isa_has(ISA_AVX2))
        store_bf16_avx2(c, rows, columns, n, place, add, y, sums);
    else
#endif
        store_bf16_portable(c, rows, columns, n, place, add, y, sums);
}

static void add_sums(const float *c, int64_t rows, int64_t columns, double *sums)
{
#if defined(__x86_64__)
    if (isa_has(ISA_AVX512))
        add_sums_avx512(c, rows, columns, sums);
    else if (isa_has(ISA_AVX2))
        add_sums_avx2(c, rows, columns, sums);
    else
#endif
        add_sums_portable(c, rows, columns, sums);
}

void conv_store(const struct precision *v, const float *c, int64_t rows, int64_t n,
                const int64_t *place, bool add, void *y, double *sums)
{
    if (v->bf16_maps) {
        store_bf16(v, c, rows, n, place, add, y, sums);
        return;
    }
    store_floats(c, rows, v->product->columns, n, place, add, y);
    if (sums)
        add_sums(c, rows, v->product->columns, sums);
}
