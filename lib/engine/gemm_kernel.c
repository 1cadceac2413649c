#include "engine/gemm_kernel.h"

#include <string.h>

#include "base/fail.h"
#include "base/isa.h"
#include "engine/engine.h"

enum { COLUMNS = 16, ROWS = 4 };                                         /* the portable kernel's */
enum { FLOATS = GEMM_KERNEL_BYTES / 4, PAIRED = GEMM_KERNEL_BYTES / 2 }; /* the two depths */

static bool always(void)
{
    return true;
}

static void nothing(void)
{
}

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* The number of k that an A which lies across is fetched ahead. All rows need the next cache line
 * at the same time, so they would all wait for it. */
enum { AHEAD = 32 };

/* Defines a kernel's two functions from sums_NAME(), which reads value (or pair) k of row r of A at
 * a + r * a_row + k * a_next, and with `ahead` fetches A early. */
#define BOTH_WAYS(name, isa)                                                                       \
    isa static void block_##name(const void *a, size_t a_row, const void *b,                       \
                                 const struct gemm_step *steps, int64_t n_steps, float *c)         \
    {                                                                                              \
        sums_##name(a, a_row, 4, false, b, steps, n_steps, c);                                     \
    }                                                                                              \
    isa static void across_##name(const void *a, size_t a_next, const void *b,                     \
                                  const struct gemm_step *steps, int64_t n_steps, float *c)        \
    {                                                                                              \
        sums_##name(a, 4, a_next, true, b, steps, n_steps, c);                                     \
    }

/* This kernel runs on any machine. Its sizes are constants, so the compiler can use the vectors
 * that every processor of the kind has. */
static ALWAYS_INLINE void sums_portable(const void *a, size_t a_row, size_t a_next, bool ahead,
                                        const void *b, const struct gemm_step *steps,
                                        int64_t n_steps, float *c)
{
    float sum[ROWS][COLUMNS] = {{0}};
    for (int64_t s = 0; s < n_steps; s++) {
        const char *x = (const char *)a + steps[s].a;
        const float *y = (const float *)((const char *)b + steps[s].b);
        for (int k = 0; k < FLOATS; k++, x += a_next, y += COLUMNS) {
            if (ahead)
                __builtin_prefetch(x + AHEAD * a_next);
            for (size_t r = 0; r < ROWS; r++) {
                const float v = *(const float *)(x + r * a_row);
                for (int j = 0; j < COLUMNS; j++)
                    sum[r][j] += v * y[j];
            }
        }
    }
    memcpy(c, sum, sizeof sum);
}
BOTH_WAYS(portable, )

#define PORTABLE_KERNEL(KERNEL)                                                                    \
    KERNEL("fp32-portable", GEMM_FLOAT, ROWS, COLUMNS, false, always, nothing, nothing,            \
           block_portable, across_portable)

#if defined(__x86_64__)

#include <immintrin.h>

/* ---- AVX2 ---- */

static bool has_avx2(void)
{
    return isa_has(ISA_AVX2);
}

/* A block of 6 x 16: 12 sums, 2 vectors of B and a value of A fill the 16 registers. */
enum { AVX2_ROWS = 6 };

#define AVX2 __attribute__((target("avx2,fma")))

AVX2 static ALWAYS_INLINE void sums_avx2(const void *a, size_t a_row, size_t a_next, bool ahead,
                                         const void *b, const struct gemm_step *steps,
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
        for (int k = 0; k < FLOATS; k++, x += a_next, y += COLUMNS) {
            if (ahead)
                __builtin_prefetch(x + AHEAD * a_next);
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
BOTH_WAYS(avx2, AVX2)

/* ---- AVX-512 ---- */

static bool has_avx512(void)
{
    return isa_has(ISA_AVX512);
}

/* A block of 8 x 32. 16 sums hide the latency of a multiply-add on two ports. There are 10 loads
 * for each 16 multiply-adds, which leaves the load ports idle a third of the time. */
enum { WIDE_ROWS = 8, WIDE_COLUMNS = 32 };

#define AVX512 __attribute__((target("avx512f")))

AVX512 static ALWAYS_INLINE void sums_avx512(const void *a, size_t a_row, size_t a_next, bool ahead,
                                             const void *b, const struct gemm_step *steps,
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
        for (int k = 0; k < FLOATS; k++, x += a_next, y += WIDE_COLUMNS) {
            if (ahead)
                __builtin_prefetch(x + AHEAD * a_next);
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
BOTH_WAYS(avx512, AVX512)

/* ---- AVX512-BF16 ---- */

static bool has_avx512_bf16(void)
{
    return isa_has(ISA_AVX512_BF16);
}

/* A block of the same shape; one instruction multiplies and adds a pair of bf16 in each lane. */
#define AVX512_BF16 __attribute__((target("avx512f,avx512bf16")))

AVX512_BF16 static ALWAYS_INLINE void sums_avx512_bf16(const void *a, size_t a_row, size_t a_next,
                                                       bool ahead, const void *b,
                                                       const struct gemm_step *steps,
                                                       int64_t n_steps, float *c)
{
    __m512 sum[WIDE_ROWS][2];
#pragma GCC unroll 8
    for (int r = 0; r < WIDE_ROWS; r++)
        sum[r][0] = sum[r][1] = _mm512_setzero_ps();
    for (int64_t s = 0; s < n_steps; s++) {
        const char *x = (const char *)a + steps[s].a, *y = (const char *)b + steps[s].b;
#pragma GCC unroll 4
        for (int k = 0; k < 16; k++, x += a_next, y += 128) {
            if (ahead)
                __builtin_prefetch(x + AHEAD * a_next);
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
BOTH_WAYS(avx512_bf16, AVX512_BF16)

/* ---- AMX ---- */

static bool has_amx(void)
{
    return isa_has(ISA_AMX);
}

static void begin_amx(void)
{
    /* Palette 1 has tiles 0 to 7; each is configured as 16 rows of 64 bytes. */
    struct {
        uint8_t palette, start_row, zero[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config __attribute__((aligned(64))) = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.bytes[t] = 64;
        config.rows[t] = 16;
    }
    /* _tile_loadconfig() cannot be used: gcc 12 assumes that it reads 8 bytes, and drops the stores
     * of the other 56. */
    __asm__ volatile("ldtilecfg %0" : : "m"(config));
}

__attribute__((target("amx-tile"))) static void end_amx(void)
{
    _tile_release();
}

/* A block is 2 x 2 tiles of sums, in registers 0 to 3. Tiles of A are in registers 4 and 5, those
 * of B in 6 and 7. A step is 4 loads and 4 products; a product takes twice as long as a load from
 * the first-level cache. */
enum { TILE_ROWS = 32, TILE_COLUMNS = 32 };

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

/* The kernels of this kind of processor, in the order of speed. */
#define KERNELS(KERNEL)                                                                            \
    KERNEL("bf16-amx", GEMM_BF16, TILE_ROWS, TILE_COLUMNS, true, has_amx, begin_amx, end_amx,      \
           block_amx, NULL)                                                                        \
    KERNEL("bf16-avx512", GEMM_BF16, WIDE_ROWS, WIDE_COLUMNS, false, has_avx512_bf16, nothing,     \
           nothing, block_avx512_bf16, across_avx512_bf16)                                         \
    KERNEL("fp32-avx512", GEMM_FLOAT, WIDE_ROWS, WIDE_COLUMNS, false, has_avx512, nothing,         \
           nothing, block_avx512, across_avx512)                                                   \
    KERNEL("fp32-avx2", GEMM_FLOAT, AVX2_ROWS, COLUMNS, false, has_avx2, nothing, nothing,         \
           block_avx2, across_avx2)                                                                \
    PORTABLE_KERNEL(KERNEL)

#elif defined(__aarch64__)

#include <arm_neon.h>

/* A block of 8 x 8: 16 sums, 8 vectors of A with four k each and 2 of B fill 26 of 32 registers.
 * There are 16 loads for each 64 multiply-adds, and 16 sums hide the latency of a multiply-add on
 * up to four units. */
enum { NEON_ROWS = 8, NEON_COLUMNS = 8 };

/* Adds the products of lane l of each row's vector with a row of B. l must be a constant. */
#define NEON_ADD(l)                                                                                \
    do {                                                                                           \
        const float32x4_t y0 = vld1q_f32(y), y1 = vld1q_f32(y + 4);                                \
        y += NEON_COLUMNS;                                                                         \
        _Pragma("GCC unroll 8") for (int r = 0; r < NEON_ROWS; r++)                                \
        {                                                                                          \
            sum[r][0] = vfmaq_laneq_f32(sum[r][0], y0, v[r], l);                                   \
            sum[r][1] = vfmaq_laneq_f32(sum[r][1], y1, v[r], l);                                   \
        }                                                                                          \
    } while (0)

static ALWAYS_INLINE void clear_neon(float32x4_t sum[NEON_ROWS][2])
{
#pragma GCC unroll 8
    for (int r = 0; r < NEON_ROWS; r++)
        sum[r][0] = sum[r][1] = vdupq_n_f32(0);
}

static ALWAYS_INLINE void store_neon(float32x4_t sum[NEON_ROWS][2], float *c)
{
#pragma GCC unroll 8
    for (int r = 0; r < NEON_ROWS; r++, c += NEON_COLUMNS) {
        vst1q_f32(c, sum[r][0]);
        vst1q_f32(c + 4, sum[r][1]);
    }
}

static void block_neon(const void *a, size_t a_row, const void *b, const struct gemm_step *steps,
                       int64_t n_steps, float *c)
{
    float32x4_t sum[NEON_ROWS][2], v[NEON_ROWS];
    clear_neon(sum);
    for (int64_t s = 0; s < n_steps; s++) {
        const char *x = (const char *)a + steps[s].a;
        const float *y = (const float *)((const char *)b + steps[s].b);
        for (int k = 0; k < FLOATS; k += 4, x += 4 * sizeof(float)) {
#pragma GCC unroll 8
            for (size_t r = 0; r < NEON_ROWS; r++)
                v[r] = vld1q_f32((const float *)(x + r * a_row));
            NEON_ADD(0);
            NEON_ADD(1);
            NEON_ADD(2);
            NEON_ADD(3);
        }
    }
    store_neon(sum, c);
}

/* Here the eight values of a k are neighbours: two vectors, whose lanes are rows. */
static void across_neon(const void *a, size_t a_next, const void *b, const struct gemm_step *steps,
                        int64_t n_steps, float *c)
{
    float32x4_t sum[NEON_ROWS][2];
    clear_neon(sum);
    for (int64_t s = 0; s < n_steps; s++) {
        const char *x = (const char *)a + steps[s].a;
        const float *y = (const float *)((const char *)b + steps[s].b);
        for (int k = 0; k < FLOATS; k++, x += a_next, y += NEON_COLUMNS) {
            const float32x4_t y0 = vld1q_f32(y), y1 = vld1q_f32(y + 4);
            const float *v = (const float *)x;
#pragma GCC unroll 8
            for (int r = 0; r < NEON_ROWS; r++) {
                sum[r][0] = vfmaq_n_f32(sum[r][0], y0, v[r]);
                sum[r][1] = vfmaq_n_f32(sum[r][1], y1, v[r]);
            }
        }
    }
    store_neon(sum, c);
}

/* NEON is part of every arm64 processor. */
#define KERNELS(KERNEL)                                                                            \
    KERNEL("fp32-neon", GEMM_FLOAT, NEON_ROWS, NEON_COLUMNS, false, always, nothing, nothing,      \
           block_neon, across_neon)                                                                \
    PORTABLE_KERNEL(KERNEL)

#else

#define KERNELS(KERNEL) PORTABLE_KERNEL(KERNEL)

#endif

#define ENTRY(name_, values_, rows_, columns_, matrix_unit_, usable_, begin_, end_, block_,        \
              across_)                                                                             \
    {.name = (name_),                                                                              \
     .values = (values_),                                                                          \
     .rows = (rows_),                                                                              \
     .columns = (columns_),                                                                        \
     .depth = (values_) == GEMM_BF16 ? PAIRED : FLOATS,                                            \
     .matrix_unit = (matrix_unit_),                                                                \
     .usable = (usable_),                                                                          \
     .begin = (begin_),                                                                            \
     .end = (end_),                                                                                \
     .block = (block_),                                                                            \
     .across = (across_)},
#define NAME(name_, ...) name_,
#define CHOICE(name_, ...) "|" name_

static const struct gemm_kernel kernels[] = {KERNELS(ENTRY)};
const char *const gemm_kernel_names[] = {KERNELS(NAME) NULL};
const char engine_kernels[] = "auto" KERNELS(CHOICE);

const struct gemm_kernel *gemm_kernel_at(int64_t i)
{
    return (size_t)i < sizeof kernels / sizeof *kernels ? kernels + i : NULL;
}

const struct gemm_kernel *gemm_kernel_find(const char *name)
{
    const struct gemm_kernel *k;
    for (int64_t i = 0; (k = gemm_kernel_at(i)); i++)
        if (!strcmp(k->name, name))
            return k;
    return NULL;
}

const struct gemm_kernel *gemm_kernel_choose(enum gemm_values values)
{
    const struct gemm_kernel *k;
    for (int64_t i = 0; (k = gemm_kernel_at(i)); i++)
        if (k->values == values && k->usable())
            return k;
    return NULL;
}

int gemm_kernel_check(const struct gemm_kernel *k)
{
    const int64_t depth = k->values == GEMM_BF16 ? PAIRED : FLOATS;
    if (k->rows < 1 || k->rows > GEMM_KERNEL_ROWS)
        return fail("kernel %s has blocks of %lld rows; 1 to %d can be used", k->name,
                    (long long)k->rows, GEMM_KERNEL_ROWS);
    if (k->columns < 1 || k->columns > GEMM_KERNEL_COLUMNS)
        return fail("kernel %s has blocks of %lld columns; 1 to %d can be used", k->name,
                    (long long)k->columns, GEMM_KERNEL_COLUMNS);
    if (k->rows * k->columns % FLOATS)
        return fail("kernel %s has blocks of %lld x %lld floats, which are no multiple of %d",
                    k->name, (long long)k->rows, (long long)k->columns, FLOATS);
    if (k->depth != depth)
        return fail("kernel %s takes %lld values a step; %lld are 64 bytes", k->name,
                    (long long)k->depth, (long long)depth);
    if (!k->across && !(k->matrix_unit && k->values == GEMM_BF16))
        return fail("kernel %s cannot multiply rows that lie across", k->name);
    return 0;
}
