#include "engine/gemm_kernel.h"

#include <string.h>

#include "base/isa.h"

enum { COLUMNS = 16, ROWS = 4, FLOATS = 16 };

static bool always(void)
{
    return true;
}

static void nothing(void)
{
}

/* Any machine: fixed sizes, which the compiler turns into the vectors that it may count on. */
static void block_portable(const void *a, size_t a_row, const void *b,
                           const struct gemm_step *steps, int64_t n_steps, float *c)
{
    float sum[ROWS][COLUMNS] = {{0}};
    for (int64_t s = 0; s < n_steps; s++) {
        const float *y = (const float *)((const char *)b + steps[s].b);
        for (int k = 0; k < FLOATS; k++, y += COLUMNS)
            for (size_t r = 0; r < ROWS; r++) {
                const float x = ((const float *)((const char *)a + steps[s].a + r * a_row))[k];
                for (int j = 0; j < COLUMNS; j++)
                    sum[r][j] += x * y[j];
            }
    }
    memcpy(c, sum, sizeof sum);
}

static const struct gemm_kernel portable = {.name = "fp32-portable",
                                            .values = GEMM_FLOAT,
                                            .rows = ROWS,
                                            .columns = COLUMNS,
                                            .depth = FLOATS,
                                            .usable = always,
                                            .begin = nothing,
                                            .end = nothing,
                                            .block = block_portable};

#if defined(__x86_64__)

#include <immintrin.h>

/* ---- AVX2 ---- */

static bool has_avx2(void)
{
    return isa_has(ISA_AVX2);
}

/* 6 x 16: 12 sums, 2 vectors of B and a value of A fill the 16 registers. */
enum { AVX2_ROWS = 6 };

__attribute__((target("avx2,fma"))) static void block_avx2(const void *a, size_t a_row,
                                                           const void *b,
                                                           const struct gemm_step *steps,
                                                           int64_t n_steps, float *c)
{
    __m256 sum[AVX2_ROWS][2];
#pragma GCC unroll 6
    for (int r = 0; r < AVX2_ROWS; r++)
        sum[r][0] = sum[r][1] = _mm256_setzero_ps();
    for (int64_t s = 0; s < n_steps; s++) {
        const char *x = (const char *)a + steps[s].a;
        const float *y = (const float *)((const char *)b + steps[s].b);
#pragma GCC unroll 4
        for (int k = 0; k < FLOATS; k++, x += sizeof(float), y += COLUMNS) {
            const __m256 y0 = _mm256_load_ps(y), y1 = _mm256_load_ps(y + 8);
#pragma GCC unroll 6
            for (size_t r = 0; r < AVX2_ROWS; r++) {
                const __m256 v = _mm256_broadcast_ss((const float *)(x + r * a_row));
                sum[r][0] = _mm256_fmadd_ps(v, y0, sum[r][0]);
                sum[r][1] = _mm256_fmadd_ps(v, y1, sum[r][1]);
            }
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < AVX2_ROWS; r++, c += COLUMNS) {
        _mm256_store_ps(c, sum[r][0]);
        _mm256_store_ps(c + 8, sum[r][1]);
    }
}

static const struct gemm_kernel avx2 = {.name = "fp32-avx2",
                                        .values = GEMM_FLOAT,
                                        .rows = AVX2_ROWS,
                                        .columns = COLUMNS,
                                        .depth = FLOATS,
                                        .usable = has_avx2,
                                        .begin = nothing,
                                        .end = nothing,
                                        .block = block_avx2};

/* ---- AVX-512 ---- */

static bool has_avx512(void)
{
    return isa_has(ISA_AVX512);
}

/* 8 x 32: 16 sums hide the latency of a multiply-add on two ports, and 10 loads go with each 16 of
 * them, which leaves the load ports idle a third of the time. */
enum { WIDE_ROWS = 8, WIDE_COLUMNS = 32 };

__attribute__((target("avx512f"))) static void block_avx512(const void *a, size_t a_row,
                                                            const void *b,
                                                            const struct gemm_step *steps,
                                                            int64_t n_steps, float *c)
{
    __m512 sum[WIDE_ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < WIDE_ROWS; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int64_t s = 0; s < n_steps; s++) {
        const char *x = (const char *)a + steps[s].a;
        const float *y = (const float *)((const char *)b + steps[s].b);
#pragma GCC unroll 4
        for (int k = 0; k < FLOATS; k++, x += sizeof(float), y += WIDE_COLUMNS) {
            const __m512 y0 = _mm512_load_ps(y), y1 = _mm512_load_ps(y + 16);
#pragma GCC unroll 8
            for (size_t r = 0; r < WIDE_ROWS; r++) {
                const __m512 v = _mm512_set1_ps(*(const float *)(x + r * a_row));
                sum[r][0] = _mm512_fmadd_ps(v, y0, sum[r][0]);
                sum[r][1] = _mm512_fmadd_ps(v, y1, sum[r][1]);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < WIDE_ROWS; r++, c += WIDE_COLUMNS) {
        _mm512_store_ps(c, sum[r][0]);
        _mm512_store_ps(c + 16, sum[r][1]);
    }
}

static const struct gemm_kernel avx512 = {.name = "fp32-avx512",
                                          .values = GEMM_FLOAT,
                                          .rows = WIDE_ROWS,
                                          .columns = WIDE_COLUMNS,
                                          .depth = FLOATS,
                                          .usable = has_avx512,
                                          .begin = nothing,
                                          .end = nothing,
                                          .block = block_avx512};

/* ---- AVX512-BF16 ---- */

static bool has_avx512_bf16(void)
{
    return isa_has(ISA_AVX512_BF16);
}

/* The same shape; one instruction multiplies and adds a pair of bf16 in each lane. */
__attribute__((target("avx512f,avx512bf16"))) static void
block_avx512_bf16(const void *a, size_t a_row, const void *b, const struct gemm_step *steps,
                  int64_t n_steps, float *c)
{
    __m512 sum[WIDE_ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < WIDE_ROWS; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int64_t s = 0; s < n_steps; s++) {
        const char *x = (const char *)a + steps[s].a, *y = (const char *)b + steps[s].b;
#pragma GCC unroll 4
        for (int k = 0; k < 16; k++, x += 4, y += 128) {
            const __m512bh y0 = (__m512bh)_mm512_load_si512(y);
            const __m512bh y1 = (__m512bh)_mm512_load_si512(y + 64);
#pragma GCC unroll 8
            for (size_t r = 0; r < WIDE_ROWS; r++) {
                int32_t pair;
                memcpy(&pair, x + r * a_row, sizeof pair);
                const __m512bh v = (__m512bh)_mm512_set1_epi32(pair);
                sum[r][0] = _mm512_dpbf16_ps(sum[r][0], v, y0);
                sum[r][1] = _mm512_dpbf16_ps(sum[r][1], v, y1);
            }
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < WIDE_ROWS; r++, c += WIDE_COLUMNS) {
        _mm512_store_ps(c, sum[r][0]);
        _mm512_store_ps(c + 16, sum[r][1]);
    }
}

static const struct gemm_kernel avx512_bf16 = {.name = "bf16-avx512",
                                               .values = GEMM_BF16,
                                               .rows = WIDE_ROWS,
                                               .columns = WIDE_COLUMNS,
                                               .depth = 32,
                                               .usable = has_avx512_bf16,
                                               .begin = nothing,
                                               .end = nothing,
                                               .block = block_avx512_bf16};

/* ---- AMX ---- */

static bool has_amx(void)
{
    return isa_has(ISA_AMX);
}

static void begin_amx(void)
{
    /* Palette 1; tiles 0 to 7 all have 16 rows of 64 bytes. */
    struct {
        uint8_t palette, start_row, zero[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.bytes[t] = 64;
        config.rows[t] = 16;
    }
    /* Not _tile_loadconfig(): gcc 12 believes that it reads 8 bytes, and drops other stores. */
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

__attribute__((target("amx-tile"))) static void end_amx(void)
{
    _tile_release();
}

/* 2 x 2 tiles of sums, 0 to 3; A's in 4 and 5, B's in 6 and 7: 4 loads for 4 products, and a
 * product takes twice as long as a load from the first-level cache. */
__attribute__((target("amx-tile,amx-bf16"))) static void block_amx(const void *a, size_t a_row,
                                                                   const void *b,
                                                                   const struct gemm_step *steps,
                                                                   int64_t n_steps, float *c)
{
    const char *second = (const char *)a + 16 * a_row;
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t s = 0; s < n_steps; s++) {
        const char *y = (const char *)b + steps[s].b;
        _tile_loadd(4, (const char *)a + steps[s].a, a_row);
        _tile_loadd(6, y, 128);
        _tile_loadd(7, y + 64, 128);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, second + steps[s].a, a_row);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, 128);
    _tile_stored(1, c + 16, 128);
    _tile_stored(2, c + 512, 128);
    _tile_stored(3, c + 528, 128);
}

static const struct gemm_kernel amx = {.name = "bf16-amx",
                                       .values = GEMM_BF16,
                                       .rows = 32,
                                       .columns = 32,
                                       .depth = 32,
                                       .usable = has_amx,
                                       .matrix_unit = true,
                                       .begin = begin_amx,
                                       .end = end_amx,
                                       .block = block_amx};

static const struct gemm_kernel *const products[] = {&amx, &avx512_bf16, &avx512, &avx2, &portable};
const char *const gemm_kernel_names[] = {"bf16-amx",  "bf16-avx512",   "fp32-avx512",
                                         "fp32-avx2", "fp32-portable", NULL};

#else

static const struct gemm_kernel *const products[] = {&portable};
const char *const gemm_kernel_names[] = {"fp32-portable", NULL};

#endif

const struct gemm_kernel *gemm_kernel_find(const char *name)
{
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        if (!strcmp(products[i]->name, name))
            return products[i];
    return NULL;
}

const struct gemm_kernel *gemm_kernel_choose(enum gemm_values values)
{
    for (size_t i = 0; i < sizeof products / sizeof *products; i++)
        if (products[i]->values == values && products[i]->usable())
            return products[i];
    return NULL;
}
