#include "engine/transpose.h"

#include <string.h>

#include "base/isa.h"

static void transpose_portable(const char *const *from, int64_t c, bool pairs, char *to,
                               size_t pitch)
{
    for (int64_t k = 0; k < c; k++, to += pitch)
        for (int64_t i = 0; i < TRANSPOSE_ROWS; i++) {
            if (pairs)
                memcpy(to + 2 * i, from[i] + 2 * k, 2);
            else
                memcpy(to + 4 * i, from[i] + 4 * k, 4);
        }
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Transposes 16 rows of 16 values of 32 bits in four rounds, which merge rows that are 1, 2, 4 and
 * 8 apart. */
static inline __attribute__((always_inline, target("avx512f"))) void transpose_block(__m512i r[16])
{
    __m512i t[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    /* Row i of each group of four rows now holds columns i, i+4, i+8, i+12 in its quarters. */
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(r[i + 8], r[i + 12], 0xdd);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        r[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

__attribute__((target("avx512f,avx512bw"))) static void
transpose_floats_avx512(const char *const *from, int64_t c, char *to, size_t pitch)
{
    __m512i r[16];
    for (int64_t at = 0; at < c; at += 16) {
        const int64_t n = c - at < 16 ? c - at : 16;
        const __mmask16 lanes = (__mmask16)((1U << n) - 1);
        for (int half = 0; half < 2; half++) {
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++)
                r[i] = _mm512_maskz_loadu_epi32(lanes, from[16 * half + i] + at * 4);
            transpose_block(r);
#pragma GCC unroll 16
            for (int64_t i = 0; i < 16; i++)
                if (i < n)
                    _mm512_storeu_si512(to + (size_t)(at + i) * pitch + 64 * half, r[i]);
        }
    }
}

/* Transposes 32 rows of bf16. Interleaving the values of two rows gives 16 values of 32 bits in
 * each half of a cache line. */
__attribute__((target("avx512f,avx512bw"))) static void
transpose_pairs_avx512(const char *const *from, int64_t c, char *to, size_t pitch)
{
    __m512i r[16];
    for (int64_t at = 0; at < c; at += 32) {
        const int64_t n = c - at < 32 ? c - at : 32;
        const __mmask32 lanes = n < 32 ? (1U << n) - 1 : ~0U;
        for (int64_t half = 0; half < 2; half++) { /* the first or last 4 of each 8 channels */
#pragma GCC unroll 16
            for (int i = 0; i < 16; i++) {
                const __m512i a = _mm512_maskz_loadu_epi16(lanes, from[2 * i] + at * 2);
                const __m512i b = _mm512_maskz_loadu_epi16(lanes, from[2 * i + 1] + at * 2);
                r[i] = half ? _mm512_unpackhi_epi16(a, b) : _mm512_unpacklo_epi16(a, b);
            }
            transpose_block(r);
#pragma GCC unroll 16
            for (int64_t i = 0; i < 16; i++) {
                const int64_t k = i / 4 * 8 + half * 4 + i % 4;
                if (k < n)
                    _mm512_storeu_si512(to + (size_t)(at + k) * pitch, r[i]);
            }
        }
    }
}

static void transpose_avx512(const char *const *from, int64_t c, bool pairs, char *to, size_t pitch)
{
    if (pairs)
        transpose_pairs_avx512(from, c, to, pitch);
    else
        transpose_floats_avx512(from, c, to, pitch);
}
#endif

void transpose_rows(const char *const *from, int64_t c, bool pairs, char *to, size_t pitch)
{
#if defined(__x86_64__)
    if (isa_has(ISA_AVX512)) {
        transpose_avx512(from, c, pairs, to, pitch);
        return;
    }
#endif
    transpose_portable(from, c, pairs, to, pitch);
}
