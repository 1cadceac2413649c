/* Tests the emulator of AMX-BF16 and AVX512-BF16 (tests/emulate.c) against a model of each
 * instruction that shares no code with it: products are exact in double, and sums are rounded to
 * odd in double and then once to float. The assembler encodes the instructions, so the decoder is
 * also compared with an independent source.
 *
 * If the machine has the instructions, the same tests run on them and confirm the model itself. If
 * it lacks them, Intel's manual is the model's only source, and two tests are skipped to show
 * this. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <math.h>
#include <omp.h>
#include <regex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "emulated.h"

static bool amx, bf16; /* whether this machine has them */

static void look_at_machine(void)
{
    unsigned a, b, c, d;
    const long permission = 0x1023, tile_data = 18; /* ARCH_REQ_XCOMP_PERM */
    amx = __get_cpuid_count(7, 0, &a, &b, &c, &d) && d >> 22 & 1 && d >> 24 & 1 &&
          syscall(SYS_arch_prctl, permission, tile_data) == 0;
    bf16 = __get_cpuid_count(7, 1, &a, &b, &c, &d) && a >> 5 & 1;
}

/* ---- random numbers ---- */

enum kind { ORDINARY, TINY, STRANGE, KINDS };

static uint64_t seed = 1;

static uint32_t any(void)
{
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)(seed >> 33) * 2654435769U;
}

/* Draws a float's bits. The number has an ordinary size; or it is so small that products are near
 * the smallest normal number, or denormal; or sometimes it is a NaN, an infinity, a zero or a
 * number that overflows. */
static uint32_t number(enum kind kind)
{
    const uint32_t sign_and_fraction = any() & 0x807FFFFFU;
    if (kind == TINY && any() % 4 == 0)
        return sign_and_fraction;
    if (kind == TINY)
        return sign_and_fraction | (1 + any() % 72) << 23;
    if (kind == STRANGE && any() % 16 == 0) {
        static const uint32_t strange[] = {0x7F800000U, 0xFF800000U, 0x7FC00000U, 0x7F810000U,
                                           0,           0x80000000U, 0x7F7F0000U, 0xFF7FFFFFU,
                                           1,           0x7F800001U, 0x007FFFFFU, 0x00010000U};
        return strange[any() % (sizeof strange / sizeof *strange)];
    }
    const uint32_t ordinary = sign_and_fraction | (112 + any() % 24) << 23;
    if (any() % 4 == 0) /* half-way between two bf16, or next to that */
        return (ordinary & 0xFFFF0000U) | (0x7FFF + any() % 3);
    return ordinary;
}

/* Draws pairs of bf16 in 32 bits, or whole floats for accumulators. */
static void fill(void *to, size_t words, enum kind kind, bool pairs)
{
    uint32_t *w = to;
    for (size_t i = 0; i < words; i++)
        w[i] = pairs ? (number(kind) >> 16 | (number(kind) & 0xFFFF0000U)) : number(kind);
}

/* ---- the model ---- */

static float as_float(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static uint32_t as_bits(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static double without_denormals(float f)
{
    return fabsf(f) < 0x1p-126F ? copysign(0, (double)f) : (double)f;
}

/* Returns a * b + c, rounded once. Denormals count as zeros, both as operands and as the result;
 * the result is denormal if it is so after rounding. */
static float model_fma(float a, float b, float c)
{
    const double p = without_denormals(a) * without_denormals(b), q = without_denormals(c);
    double s = p + q;
    if (!isfinite(s))
        return (float)s;
    const double t = s - p, error = (p - (s - t)) + (q - t);
    uint64_t bits;
    memcpy(&bits, &s, sizeof bits);
    if (error != 0 && !(bits & 1)) /* rounds to odd, which makes a second rounding exact */
        s = nextafter(s, error > 0 ? INFINITY : -INFINITY);
    if (fabs(s) < 1 && fabsf((float)ldexp(s, 64)) < 0x1p-62F)
        return copysignf(0, (float)s);
    return (float)s;
}

static float low(uint32_t pair)
{
    return as_float(pair << 16);
}

static float high(uint32_t pair)
{
    return as_float(pair & 0xFFFF0000U);
}

/* Rounds by comparing the two candidates in double. */
static uint16_t model_bfloat16(uint32_t bits)
{
    const float f = as_float(bits);
    if (isnan(f))
        return (uint16_t)((bits >> 16) | 0x40);
    if (fabsf(f) < 0x1p-126F)
        return (uint16_t)(bits >> 16 & 0x8000);
    const uint32_t down = bits & 0xFFFF0000U, up = down + 0x10000U;
    const double below = fabs((double)f) - fabs((double)as_float(down));
    const double step = ldexp(1, ilogbf(f) - 7);
    if (isinf(f) || below < step / 2 || (below == step / 2 && !(down >> 16 & 1)))
        return (uint16_t)(down >> 16);
    return (uint16_t)(up >> 16);
}

static bool same_float(uint32_t x, uint32_t y)
{
    return x == y || (isnan(as_float(x)) && isnan(as_float(y)));
}

/* ---- vectors: each instruction runs between loading and storing all vectors and masks ---- */

struct vectors {
    uint32_t zmm[32][16];
    uint64_t k[8];
};

enum operation { DOT, TWO, ONE };

struct vector_case {
    const char *text;
    void (*run)(struct vectors *, const uint8_t *, int64_t);
    enum operation operation;
    int bytes, to, first, second; /* second: a register, or MEMORY */
    int offset, scale;            /* the operand is at p + offset + index * scale */
    int mask;
    bool zeroing, broadcast;
};
enum { MEMORY = -1 };
static _Alignas(64) uint8_t fixed_place[64]; /* addressed relative to RIP */

#define FOR_ALL(x)                                                                                 \
    x(0) x(1) x(2) x(3) x(4) x(5) x(6) x(7) x(8) x(9) x(10) x(11) x(12) x(13) x(14) x(15) x(16)    \
        x(17) x(18) x(19) x(20) x(21) x(22) x(23) x(24) x(25) x(26) x(27) x(28) x(29) x(30) x(31)
#define LOAD(n) "vmovdqu64 " #n "*64(%[v]), %%zmm" #n "\n\t"
#define STORE(n) "vmovdqu64 %%zmm" #n ", " #n "*64(%[v])\n\t"
#define MASKS(x) x(1) x(2) x(3) x(4) x(5) x(6) x(7)
#define LOAD_MASK(n) "kmovq 2048+" #n "*8(%[v]), %%k" #n "\n\t"
#define STORE_MASK(n) "kmovq %%k" #n ", 2048+" #n "*8(%[v])\n\t"
#define CLOBBER(n) "xmm" #n,

/* Runs an instruction with p and i in the named registers and v in another one. */
#define RUN(name, p_register, i_register, instruction)                                             \
    __attribute__((target("avx512f,avx512bw"))) static void name(struct vectors *v,                \
                                                                 const uint8_t *at, int64_t index) \
    {                                                                                              \
        register const uint8_t *p __asm__(p_register) = at;                                        \
        register int64_t i __asm__(i_register) = index;                                            \
        __asm__ volatile(FOR_ALL(LOAD) MASKS(LOAD_MASK) instruction "\n\t" FOR_ALL(STORE)          \
                             MASKS(STORE_MASK)                                                     \
                         : "+m"(*v)                                                                \
                         : [v] "D"(v), [p] "r"(p), [i] "r"(i), [fixed] "m"(fixed_place)            \
                         : FOR_ALL(CLOBBER) "k1", "k2", "k3", "k4", "k5", "k6", "k7", "memory");   \
    }

RUN(dot_zmm, "rax", "rcx", "vdpbf16ps %%zmm2, %%zmm1, %%zmm0")
RUN(dot_high, "rax", "rcx", "vdpbf16ps %%zmm31, %%zmm22, %%zmm17")
RUN(dot_mixed, "rax", "rcx", "vdpbf16ps %%zmm13, %%zmm16, %%zmm8")
RUN(dot_itself, "rax", "rcx", "vdpbf16ps %%zmm5, %%zmm5, %%zmm5")
RUN(dot_ymm, "rax", "rcx", "vdpbf16ps %%ymm9, %%ymm24, %%ymm18")
RUN(dot_xmm, "rax", "rcx", "vdpbf16ps %%xmm29, %%xmm3, %%xmm14")
RUN(dot_memory, "rsi", "rcx", "vdpbf16ps (%[p]), %%zmm1, %%zmm0")
RUN(dot_disp8, "r8", "rcx", "vdpbf16ps 0x40(%[p]), %%zmm1, %%zmm30")
RUN(dot_minus, "r9", "rcx", "vdpbf16ps -0x80(%[p]), %%zmm1, %%zmm0")
RUN(dot_disp32, "r10", "rcx", "vdpbf16ps 0x44(%[p]), %%zmm1, %%zmm0")
RUN(dot_far, "rbx", "rcx", "vdpbf16ps -0x804(%[p]), %%zmm1, %%zmm0")
RUN(dot_wide, "rbx", "rcx", "%{disp32%} vdpbf16ps 0x80(%[p]), %%zmm1, %%zmm0")
RUN(dot_index, "r13", "r12", "vdpbf16ps 0x40(%[p],%[i],4), %%zmm1, %%zmm0")
RUN(dot_index8, "r14", "rbx", "vdpbf16ps (%[p],%[i],8), %%zmm21, %%zmm0")
RUN(dot_r12, "r12", "r15", "vdpbf16ps 0x20(%[p]), %%ymm1, %%ymm0")
RUN(dot_r13, "r13", "r15", "vdpbf16ps (%[p]), %%ymm1, %%ymm0")
RUN(dot_no_base, "r11", "rdx", "vdpbf16ps 0x40(,%[p],1), %%xmm1, %%xmm0")
RUN(dot_rip, "rax", "rcx", "vdpbf16ps %[fixed], %%zmm1, %%zmm19")
RUN(dot_broadcast, "rdx", "rcx", "vdpbf16ps 0x8(%[p])%{1to16%}, %%zmm1, %%zmm0")
RUN(dot_broadcast8, "rdx", "r9", "vdpbf16ps -0x4(%[p],%[i],2)%{1to8%}, %%ymm1, %%ymm0")
RUN(dot_broadcast4, "r15", "rcx", "vdpbf16ps 0x200(%[p])%{1to4%}, %%xmm28, %%xmm7")
RUN(dot_merge, "rax", "rcx", "vdpbf16ps %%zmm2, %%zmm1, %%zmm0%{%%k3%}")
RUN(dot_zero, "rax", "rcx", "vdpbf16ps %%zmm2, %%zmm11, %%zmm26%{%%k7%}%{z%}")
RUN(dot_zero_ymm, "rax", "rcx", "vdpbf16ps 0x20(%[p]), %%ymm11, %%ymm26%{%%k1%}%{z%}")
RUN(dot_merge_one, "rsi", "rcx", "vdpbf16ps 0x4(%[p])%{1to16%}, %%zmm1, %%zmm6%{%%k5%}")
RUN(two_zmm, "rax", "rcx", "vcvtne2ps2bf16 %%zmm2, %%zmm1, %%zmm0")
RUN(two_ymm, "rax", "rcx", "vcvtne2ps2bf16 %%ymm15, %%ymm31, %%ymm16")
RUN(two_xmm, "rax", "rcx", "vcvtne2ps2bf16 %%xmm4, %%xmm5, %%xmm4")
RUN(two_memory, "r8", "r9", "vcvtne2ps2bf16 0x40(%[p],%[i],1), %%zmm1, %%zmm0")
RUN(two_broadcast, "r8", "r9", "vcvtne2ps2bf16 0xc(%[p])%{1to16%}, %%zmm1, %%zmm20")
RUN(two_merge, "rax", "rcx", "vcvtne2ps2bf16 %%zmm2, %%zmm1, %%zmm0%{%%k2%}")
RUN(two_zero, "rax", "rcx", "vcvtne2ps2bf16 %%zmm25, %%zmm1, %%zmm0%{%%k4%}%{z%}")
RUN(one_zmm, "rax", "rcx", "vcvtneps2bf16 %%zmm2, %%ymm0")
RUN(one_high, "rax", "rcx", "%{evex%} vcvtneps2bf16 %%ymm27, %%xmm19")
RUN(one_xmm, "rax", "rcx", "%{evex%} vcvtneps2bf16 %%xmm12, %%xmm12")
RUN(one_memory, "rbx", "rcx", "vcvtneps2bf16 0x80(%[p]), %%ymm9")
RUN(one_memory_ymm, "rbx", "rcx", "%{evex%} vcvtneps2bf16y -0x20(%[p]), %%xmm9")
RUN(one_broadcast, "r11", "rcx", "vcvtneps2bf16 0x1fc(%[p])%{1to16%}, %%ymm9")
RUN(one_merge, "rax", "rcx", "vcvtneps2bf16 %%zmm2, %%ymm0%{%%k6%}")
RUN(one_zero, "rax", "rcx", "vcvtneps2bf16 (%[p]), %%ymm23%{%%k6%}%{z%}")

#define CASE(name, ...)                                                                            \
    {                                                                                              \
        .text = #name, .run = name, __VA_ARGS__                                                    \
    }
static const struct vector_case vector_cases[] = {
    CASE(dot_zmm, DOT, 64, 0, 1, 2),
    CASE(dot_high, DOT, 64, 17, 22, 31),
    CASE(dot_mixed, DOT, 64, 8, 16, 13),
    CASE(dot_itself, DOT, 64, 5, 5, 5),
    CASE(dot_ymm, DOT, 32, 18, 24, 9),
    CASE(dot_xmm, DOT, 16, 14, 3, 29),
    CASE(dot_memory, DOT, 64, 0, 1, MEMORY),
    CASE(dot_disp8, DOT, 64, 30, 1, MEMORY, .offset = 0x40),
    CASE(dot_minus, DOT, 64, 0, 1, MEMORY, .offset = -0x80),
    CASE(dot_disp32, DOT, 64, 0, 1, MEMORY, .offset = 0x44),
    CASE(dot_far, DOT, 64, 0, 1, MEMORY, .offset = -0x804),
    CASE(dot_wide, DOT, 64, 0, 1, MEMORY, .offset = 0x80),
    CASE(dot_index, DOT, 64, 0, 1, MEMORY, .offset = 0x40, .scale = 4),
    CASE(dot_index8, DOT, 64, 0, 21, MEMORY, .scale = 8),
    CASE(dot_r12, DOT, 32, 0, 1, MEMORY, .offset = 0x20),
    CASE(dot_r13, DOT, 32, 0, 1, MEMORY),
    CASE(dot_no_base, DOT, 16, 0, 1, MEMORY, .offset = 0x40),
    CASE(dot_rip, DOT, 64, 19, 1, MEMORY),
    CASE(dot_broadcast, DOT, 64, 0, 1, MEMORY, .offset = 8, .broadcast = true),
    CASE(dot_broadcast8, DOT, 32, 0, 1, MEMORY, .offset = -4, .scale = 2, .broadcast = true),
    CASE(dot_broadcast4, DOT, 16, 7, 28, MEMORY, .offset = 0x200, .broadcast = true),
    CASE(dot_merge, DOT, 64, 0, 1, 2, .mask = 3),
    CASE(dot_zero, DOT, 64, 26, 11, 2, .mask = 7, .zeroing = true),
    CASE(dot_zero_ymm, DOT, 32, 26, 11, MEMORY, .offset = 0x20, .mask = 1, .zeroing = true),
    CASE(dot_merge_one, DOT, 64, 6, 1, MEMORY, .offset = 4, .mask = 5, .broadcast = true),
    CASE(two_zmm, TWO, 64, 0, 1, 2),
    CASE(two_ymm, TWO, 32, 16, 31, 15),
    CASE(two_xmm, TWO, 16, 4, 5, 4),
    CASE(two_memory, TWO, 64, 0, 1, MEMORY, .offset = 0x40, .scale = 1),
    CASE(two_broadcast, TWO, 64, 20, 1, MEMORY, .offset = 0xc, .broadcast = true),
    CASE(two_merge, TWO, 64, 0, 1, 2, .mask = 2),
    CASE(two_zero, TWO, 64, 0, 1, 25, .mask = 4, .zeroing = true),
    CASE(one_zmm, ONE, 64, 0, 0, 2),
    CASE(one_high, ONE, 32, 19, 0, 27),
    CASE(one_xmm, ONE, 16, 12, 0, 12),
    CASE(one_memory, ONE, 64, 9, 0, MEMORY, .offset = 0x80),
    CASE(one_memory_ymm, ONE, 32, 9, 0, MEMORY, .offset = -0x20),
    CASE(one_broadcast, ONE, 64, 9, 0, MEMORY, .offset = 0x1fc, .broadcast = true),
    CASE(one_merge, ONE, 64, 0, 0, 2, .mask = 6),
    CASE(one_zero, ONE, 64, 23, 0, MEMORY, .mask = 6, .zeroing = true),
};

static void model_vector(const struct vector_case *c, struct vectors *v, const uint32_t *second)
{
    const int lanes = c->bytes / 4;
    uint32_t result[16] = {0}, old[16];
    uint16_t words[32] = {0}, old_words[32];
    memcpy(old, v->zmm[c->to], sizeof old);
    memcpy(old_words, old, sizeof old);
    const uint64_t mask = c->mask ? v->k[c->mask] : UINT64_MAX;
    for (int i = 0; i < lanes; i++) {
        const uint32_t x = v->zmm[c->first][i], y = second[c->broadcast ? 0 : i];
        if (c->operation == DOT) {
            const float odd = model_fma(high(x), high(y), as_float(old[i]));
            result[i] = as_bits(model_fma(low(x), low(y), odd));
            if (!(mask >> i & 1))
                result[i] = c->zeroing ? 0 : old[i];
        } else {
            words[i] = model_bfloat16(y);
            if (c->operation == TWO)
                words[lanes + i] = model_bfloat16(x);
        }
    }
    const int count = c->operation == TWO ? 2 * lanes : c->operation == ONE ? lanes : 0;
    for (int i = 0; i < count; i++)
        if (!(mask >> i & 1))
            words[i] = c->zeroing ? 0 : old_words[i];
    memcpy(v->zmm[c->to], c->operation == DOT ? (const void *)result : words, 64);
}

/* Compares every register after one run. NaNs in the destination of a sum may have different
 * bits. */
static void check_vector(const struct vector_case *c, const struct vectors *before,
                         const uint8_t *p, int64_t index)
{
    struct vectors v = *before, expected = *before;
    uint32_t second[16] = {0};
    const uint8_t *operand = c->run == dot_rip ? fixed_place : p + c->offset + index * c->scale;
    if (c->second == MEMORY)
        memcpy(second, operand, c->broadcast ? 4 : (size_t)c->bytes);
    else
        memcpy(second, v.zmm[c->second], sizeof second);
    model_vector(c, &expected, second);
    c->run(&v, p, index);
    for (int i = 0; i < 16 && c->operation == DOT; i++)
        if (same_float(v.zmm[c->to][i], expected.zmm[c->to][i]))
            v.zmm[c->to][i] = expected.zmm[c->to][i];
    if (memcmp(&v, &expected, sizeof v) != 0) {
        for (int n = 0; n < 32; n++)
            for (int i = 0; i < 16; i++)
                if (v.zmm[n][i] != expected.zmm[n][i])
                    print_message("zmm%d[%d] %08x, expected %08x (was %08x)\n", n, i, v.zmm[n][i],
                                  expected.zmm[n][i], before->zmm[n][i]);
        fail_msg("%s differs from the model", c->text);
    }
}

static void needs_avx512(void)
{
    if (isa_has(ISA_AVX512))
        return;
    print_message("no AVX-512 here: nothing to hold the registers in\n");
    skip();
}

static void test_vectors(void **state)
{
    (void)state;
    needs_avx512();
    static uint8_t memory[8192];
    for (int round = 0; round < 60; round++)
        for (size_t n = 0; n < sizeof vector_cases / sizeof *vector_cases; n++) {
            const struct vector_case *c = &vector_cases[n];
            const enum kind kind = (enum kind)(round % KINDS);
            struct vectors v = {0};
            fill(memory, sizeof memory / 4, kind, c->operation == DOT);
            fill(fixed_place, sizeof fixed_place / 4, kind, true);
            fill(v.zmm, sizeof v.zmm / 4, kind, c->operation == DOT);
            fill(v.zmm[c->to], 16, kind, c->to == c->first);
            for (int k = 1; k < 8; k++)
                v.k[k] = (uint64_t)any() << 32 | any();
            check_vector(c, &v, memory + 4096, (int64_t)(any() % 200) - 100);
        }
}

/* Maps two pages, of which the second cannot be read. Returns the address of the start of the
 * second. */
static uint8_t *edge(void)
{
    uint8_t *p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(p, MAP_FAILED);
    assert_int_equal(mprotect(p + 4096, 4096, PROT_NONE), 0);
    return p + 4096;
}

static void check_masked(const char *name, uint8_t *end)
{
    const struct vector_case *c = vector_cases;
    while (strcmp(c->text, name) != 0)
        c++;
    struct vectors v = {0}, expected;
    uint32_t second[16] = {0};
    fill(v.zmm, sizeof v.zmm / 4, ORDINARY, true);
    fill(end - 12, 3, ORDINARY, true);
    v.k[c->mask] = 7;
    expected = v;
    memcpy(second, end - 12, 12);
    model_vector(c, &expected, second);
    c->run(&v, end - 12 - c->offset, 0);
    assert_memory_equal(&v, &expected, sizeof v);
}

static void test_masked_lanes_are_not_read(void **state)
{
    (void)state;
    needs_avx512();
    uint8_t *end = edge();
    check_masked("dot_zero_ymm", end);
    check_masked("one_zero", end);
    munmap(end - 4096, 8192);
}

/* The operating system does not save registers that were never used or were cleared as a whole. */
RUN(dot_cleared, "rax", "rcx", "vzeroall\n\tvdpbf16ps (%[p]), %%zmm17, %%zmm0")

static void test_cleared_registers(void **state)
{
    (void)state;
    needs_avx512();
    const struct vector_case c = CASE(dot_cleared, DOT, 64, 0, 17, MEMORY);
    struct vectors v = {0};
    uint32_t operand[16];
    fill(operand, 16, ORDINARY, true);
    fill(v.zmm[16], 16 * 16, ORDINARY, true);
    check_vector(&c, &v, (const uint8_t *)operand, 0);
}

/* ---- tiles ---- */

struct config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes[16];
    uint8_t rows[16];
};

static void load_config(const struct config *c)
{
    __asm__ volatile("ldtilecfg %0" : : "m"(*c));
}

/* Rows of bytes among guard bytes; the rows may be in descending order of addresses. */
struct matrix {
    uint8_t *memory, *first;
    int64_t stride;
    int rows, bytes;
};
enum { MATRIX_BYTES = 16 * 8192 };

static struct matrix new_matrix(int rows, int bytes, enum kind kind, bool pairs)
{
    const int64_t strides[] = {bytes, 64, 97, 1000, 4096, 8192, -bytes, -64, -8190};
    struct matrix m = {.memory = malloc(MATRIX_BYTES), .rows = rows, .bytes = bytes};
    assert_non_null(m.memory);
    memset(m.memory, 0xA5, MATRIX_BYTES);
    m.stride = strides[any() % (sizeof strides / sizeof *strides)];
    m.first = m.memory + (m.stride < 0 ? -m.stride * (rows - 1) : 0);
    for (int r = 0; r < rows; r++) {
        uint32_t row[16];
        fill(row, 16, kind, pairs);
        memcpy(m.first + r * m.stride, row, (size_t)bytes);
    }
    return m;
}

static uint32_t at(const struct matrix *m, int r, int i)
{
    uint32_t bits;
    memcpy(&bits, m->first + r * m->stride + 4 * i, sizeof bits);
    return bits;
}

static void set(const struct matrix *m, int r, int i, uint32_t bits)
{
    memcpy(m->first + r * m->stride + 4 * i, &bits, sizeof bits);
}

#define PRODUCT(to, left, right)                                                                   \
    static void product_##to##left##right(const struct matrix *c, const struct matrix *a,          \
                                          const struct matrix *b)                                  \
    {                                                                                              \
        __asm__ volatile("tileloadd (%[c],%[sc],1), %%tmm" #to "\n\t"                              \
                         "tileloaddt1 (%[a],%[sa],1), %%tmm" #left "\n\t"                          \
                         "tileloadd (%[b],%[sb],1), %%tmm" #right "\n\t"                           \
                         "tdpbf16ps %%tmm" #right ", %%tmm" #left ", %%tmm" #to "\n\t"             \
                         "tilestored %%tmm" #to ", (%[c],%[sc],1)"                                 \
                         :                                                                         \
                         : [c] "r"(c->first), [sc] "r"(c->stride), [a] "r"(a->first),              \
                           [sa] "r"(a->stride), [b] "r"(b->first), [sb] "r"(b->stride)             \
                         : "memory");                                                              \
    }
PRODUCT(0, 1, 2)
PRODUCT(7, 0, 5)
PRODUCT(3, 6, 4)
PRODUCT(5, 7, 1)

static const struct product_case {
    int to, left, right;
    void (*run)(const struct matrix *, const struct matrix *, const struct matrix *);
} products[] = {
    {0, 1, 2, product_012}, {7, 0, 5, product_705}, {3, 6, 4, product_364}, {5, 7, 1, product_571}};

struct problem {
    const struct product_case *product;
    struct config config;
    struct matrix a, b, c, expected;
};

/* Makes a problem, in which c and the model's result have memory of their own: everything outside
 * the result must stay unchanged. */
static struct problem new_problem(const struct product_case *product, enum kind kind)
{
    const int m = 1 + (int)(any() % 16), k = 1 + (int)(any() % 16), n = 1 + (int)(any() % 16);
    struct problem p = {.product = product, .config.palette = 1};
    for (int t = 0; t < 8; t++)
        p.config.bytes[t] = p.config.rows[t] = 8;
    p.config.rows[product->to] = p.config.rows[product->left] = (uint8_t)m;
    p.config.bytes[product->to] = p.config.bytes[product->right] = (uint16_t)(4 * n);
    p.config.bytes[product->left] = (uint16_t)(4 * k);
    p.config.rows[product->right] = (uint8_t)k;
    p.a = new_matrix(m, 4 * k, kind, true);
    p.b = new_matrix(k, 4 * n, kind, true);
    p.c = new_matrix(m, 4 * n, kind, false);
    p.expected = p.c;
    p.expected.memory = malloc(MATRIX_BYTES);
    assert_non_null(p.expected.memory);
    memcpy(p.expected.memory, p.c.memory, MATRIX_BYTES);
    p.expected.first = p.expected.memory + (p.c.first - p.c.memory);
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            float even = 0, odd = 0;
            for (int l = 0; l < k; l++) {
                even = model_fma(low(at(&p.a, i, l)), low(at(&p.b, l, j)), even);
                odd = model_fma(high(at(&p.a, i, l)), high(at(&p.b, l, j)), odd);
            }
            const float both = model_fma(even, 1, odd);
            set(&p.expected, i, j, as_bits(model_fma(as_float(at(&p.c, i, j)), 1, both)));
        }
    return p;
}

/* Returns the number of elements that differ, or -1 if the memory around them was written. Frees
 * the problem. */
static int finish_problem(struct problem *p)
{
    int wrong = 0;
    for (int i = 0; i < p->c.rows; i++)
        for (int j = 0; j < p->c.bytes / 4; j++) {
            wrong += !same_float(at(&p->c, i, j), at(&p->expected, i, j));
            set(&p->c, i, j, at(&p->expected, i, j));
        }
    if (memcmp(p->c.memory, p->expected.memory, MATRIX_BYTES) != 0)
        wrong = -1;
    free(p->a.memory);
    free(p->b.memory);
    free(p->c.memory);
    free(p->expected.memory);
    return wrong;
}

static void test_products(void **state)
{
    (void)state;
    for (int round = 0; round < 120; round++) {
        struct problem p = new_problem(&products[round % 4], (enum kind)(round / 4 % KINDS));
        load_config(&p.config);
        p.product->run(&p.c, &p.a, &p.b);
        assert_int_equal(finish_problem(&p), 0);
    }
    __asm__ volatile("tilerelease");
}

static void test_threads_have_tiles_of_their_own(void **state)
{
    (void)state;
    struct problem p[4];
    int wrong = 0;
    for (int t = 0; t < 4; t++)
        p[t] = new_problem(&products[t], ORDINARY);
#pragma omp parallel num_threads(4) reduction(+ : wrong)
    {
        struct problem *mine = &p[omp_get_thread_num()];
        load_config(&mine->config);
#pragma omp barrier
        mine->product->run(&mine->c, &mine->a, &mine->b);
        wrong += finish_problem(mine) != 0;
        __asm__ volatile("tilerelease");
    }
    assert_int_equal(wrong, 0);
}

/* Loads tmm5 with every kind of address. The store writes rows of 64 bytes. */
#define VISIT(name, p_register, i_register, address)                                               \
    static void name(const uint8_t *from, int64_t index, uint8_t *to)                              \
    {                                                                                              \
        register const uint8_t *p __asm__(p_register) = from;                                      \
        register int64_t i __asm__(i_register) = index;                                            \
        __asm__ volatile("tileloadd " address ", %%tmm5\n\t"                                       \
                         "tilestored %%tmm5, (%[to],%[row],1)"                                     \
                         :                                                                         \
                         : [p] "r"(p), [i] "r"(i), [to] "D"(to), [row] "S"(64L)                    \
                         : "memory");                                                              \
    }
VISIT(visit_plain, "rax", "rcx", "(%[p],%[i],1)")
VISIT(visit_8, "r8", "r9", "0x40(%[p],%[i],2)")
VISIT(visit_minus, "r13", "r12", "-0x80(%[p],%[i],4)")
VISIT(visit_far, "r12", "r13", "0x1234(%[p],%[i],8)")
VISIT(visit_mixed, "rbx", "r14", "-0x81(%[p],%[i],1)")
VISIT(visit_other, "r15", "rdx", "0x7f(%[p],%[i],1)")
VISIT(visit_still, "r11", "r10", "0x10(%[p])")

static const struct {
    void (*run)(const uint8_t *, int64_t, uint8_t *);
    int offset, scale;
} visits[] = {{visit_plain, 0, 1},    {visit_8, 0x40, 2},      {visit_minus, -0x80, 4},
              {visit_far, 0x1234, 8}, {visit_mixed, -0x81, 1}, {visit_other, 0x7f, 1},
              {visit_still, 0x10, 0}};

static void test_addresses_of_tiles(void **state)
{
    (void)state;
    static uint8_t memory[1 << 17];
    fill(memory, sizeof memory / 4, ORDINARY, true);
    for (int round = 0; round < 100; round++)
        for (size_t n = 0; n < sizeof visits / sizeof *visits; n++) {
            const int rows = 1 + (int)(any() % 16), bytes = 1 + (int)(any() % 64);
            struct config config = {.palette = 1};
            config.rows[5] = (uint8_t)rows;
            config.bytes[5] = (uint16_t)bytes;
            const int64_t index = (int64_t)(any() % 800) - 400;
            const uint8_t *p = memory + sizeof memory / 2;
            uint8_t got[16][64], expected[16][64];
            memset(got, 0x5A, sizeof got);
            memset(expected, 0x5A, sizeof expected);
            for (int r = 0; r < rows; r++)
                memcpy(expected[r], p + visits[n].offset + r * index * visits[n].scale,
                       (size_t)bytes);
            load_config(&config);
            visits[n].run(p, index, got[0]);
            assert_memory_equal(got, expected, sizeof got);
        }
    __asm__ volatile("tilerelease");
}

static void test_tiles_touch_their_bytes_alone(void **state)
{
    (void)state;
    uint8_t *end = edge(), got[16][64];
    struct config config = {.palette = 1, .rows[5] = 3, .bytes[5] = 12};
    fill(end - 36, 9, ORDINARY, true);
    load_config(&config);
    visit_plain(end - 36, 12, got[0]);
    for (int r = 0; r < 3; r++)
        assert_memory_equal(got[r], end - 36 + 12 * r, 12);
    __asm__ volatile("tilestored %%tmm5, (%0,%1,1)" : : "r"(end - 12), "r"(-16L) : "memory");
    for (int r = 0; r < 3; r++)
        assert_memory_equal(got[r], end - 12 - 16 * r, 12);
    munmap(end - 4096, 8192);
}

static void store_tile_4(uint8_t *to)
{
    __asm__ volatile("tilestored %%tmm4, (%0,%1,1)" : : "r"(to), "r"(64L) : "memory");
}

static void test_zeros_and_configurations(void **state)
{
    (void)state;
    uint8_t ones[16][64], got[16][64];
    const uint8_t zeros[16][64] = {0};
    struct config config = {.palette = 1, .rows[4] = 16, .bytes[4] = 64}, stored;
    memset(ones, 1, sizeof ones);
    load_config(&config);
    for (int again = 0; again < 3; again++) {
        store_tile_4(got[0]); /* must be zero after LDTILECFG, and after TILEZERO */
        assert_memory_equal(got, zeros, sizeof got);
        __asm__ volatile("tileloadd (%0,%1,1), %%tmm4" : : "r"(ones), "r"(64L) : "memory");
        store_tile_4(got[0]);
        assert_memory_equal(got, ones, sizeof got);
        if (again)
            __asm__ volatile("tilezero %%tmm4" ::);
        else
            load_config(&config);
    }
    __asm__ volatile("sttilecfg %0" : "=m"(stored));
    assert_memory_equal(&stored, &config, sizeof stored);
    __asm__ volatile("tilerelease");
    __asm__ volatile("sttilecfg %0" : "=m"(stored));
    assert_memory_equal(&stored, zeros, sizeof stored);
}

/* ---- mistakes end in a crash ---- */

static void nothing(void)
{
}
static void zero_0(void)
{
    __asm__ volatile("tilezero %%tmm0" ::);
}
static void zero_7(void)
{
    __asm__ volatile("tilezero %%tmm7" ::);
}
static void released(void)
{
    __asm__ volatile("tilerelease");
    zero_0();
}
static void dot(void)
{
    __asm__ volatile("tdpbf16ps %%tmm2, %%tmm1, %%tmm0" ::);
}
static void dot_missing(void)
{
    __asm__ volatile("tdpbf16ps %%tmm2, %%tmm3, %%tmm0" ::);
}
static void dot_twice(void) /* computes tmm0 += tmm1 tmm1, which the assembler refuses to encode */
{
    __asm__ volatile(".byte 0xC4, 0xE2, 0x72, 0x5C, 0xC1");
}
static void unknown(void)
{
    __asm__ volatile("ud2");
}

/* Mistakes: each loads a configuration of three full tiles with one byte changed, then runs an
 * instruction. */
static const struct mistake {
    int at, value;
    void (*run)(void);
    const char *message;
    bool allowed; /* whether the machine allows it */
} mistakes[] = {
    {0, 2, nothing, "LDTILECFG at .*: there is no palette but 1", false},
    {1, 1, nothing, "start_row is not 0", true},
    {2, 1, nothing, "reserved byte", false},
    {15, 1, nothing, "reserved byte", false},
    {32, 1, nothing, "reserved byte", false},
    {47, 1, nothing, "reserved byte", false},
    {63, 1, nothing, "reserved byte", false},
    {48, 17, nothing, "more than 16 rows", false},
    {48, 0, nothing, "either rows or bytes", false},
    {16, 0, nothing, "either rows or bytes", false},
    {16, 65, nothing, "more than 64 bytes", false},
    {17, 1, nothing, "more than 64 bytes", false},
    {0, 0, zero_0, "TILEZERO at .*: no configuration", false},
    {0, 1, released, "TILEZERO at .*: no configuration", false},
    {0, 1, zero_7, "no such tile", false},
    {0, 1, dot_missing, "no such tile", false},
    {0, 1, dot_twice, "TDPBF16PS at .*: the same tile twice", false},
    {18, 62, dot, "no multiple of 4", false},
    {48, 15, dot, "do not match", false},
    {49, 15, dot, "do not match", false},
    {50, 15, dot, "do not match", false},
    {16, 60, dot, "do not match", false},
    {18, 60, dot, "do not match", false},
    {20, 60, dot, "do not match", false},
    {0, 1, unknown, "unknown", false},
};

static void make(const struct mistake *m)
{
    struct config config = {.palette = 1};
    for (int t = 0; t < 3; t++) {
        config.rows[t] = 16;
        config.bytes[t] = 64;
    }
    ((uint8_t *)&config)[m->at] = (uint8_t)m->value;
    load_config(&config);
    m->run();
}

static void test_mistakes_crash(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof mistakes / sizeof *mistakes; n++) {
        const struct mistake *m = &mistakes[n];
        if (amx && m->allowed)
            continue;
        int line[2], status;
        char said[200] = "";
        assert_int_equal(pipe(line), 0);
        const pid_t child = fork();
        if (child == 0) {
            setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
            signal(SIGILL, SIG_DFL);
            signal(SIGSEGV, SIG_DFL);
            dup2(line[1], STDERR_FILENO);
            make(m);
            _exit(0);
        }
        close(line[1]);
        assert_true(read(line[0], said, sizeof said - 1) >= 0);
        close(line[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status))
            fail_msg("no crash where the message is: %s", m->message);
        if (amx)
            continue;
        assert_int_equal(WTERMSIG(status), SIGILL);
        regex_t expected;
        assert_int_equal(regcomp(&expected, m->message, REG_NOSUB), 0);
        if (regexec(&expected, said, 0, NULL, 0) != 0 || strchr(said, '\n') != strrchr(said, '\n'))
            fail_msg("\"%s\" is not: %s", said, m->message);
        regfree(&expected);
    }
}

/* ---- the model against the machine ---- */

static void confirmed(bool by_machine, const char *instructions)
{
    if (by_machine)
        return;
    print_message("%s: not on this machine, emulated. The model rests on the manual alone.\n",
                  instructions);
    skip();
}

static void test_this_machine_confirms_amx(void **state)
{
    (void)state;
    confirmed(amx, "AMX-BF16");
}

static void test_this_machine_confirms_bf16(void **state)
{
    (void)state;
    confirmed(bf16, "AVX512-BF16");
}

int main(int argc, char **argv)
{
    (void)argc;
    look_at_machine();
    if (!amx || !bf16)
        run_emulated(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_masked_lanes_are_not_read),
        cmocka_unit_test(test_cleared_registers),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_threads_have_tiles_of_their_own),
        cmocka_unit_test(test_addresses_of_tiles),
        cmocka_unit_test(test_tiles_touch_their_bytes_alone),
        cmocka_unit_test(test_zeros_and_configurations),
        cmocka_unit_test(test_mistakes_crash),
        cmocka_unit_test(test_this_machine_confirms_amx),
        cmocka_unit_test(test_this_machine_confirms_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
static void test_nothing_to_emulate(void **state)
{
    (void)state;
    print_message("not an x86-64 machine\n");
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nothing_to_emulate)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
