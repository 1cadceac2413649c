#include "base/isa.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

const char isa_names[] = "portable|avx2|avx512|avx512-bf16|amx";

static const char variable[] = "SIMCLR_ISA";

/* EARLY marks functions that run before main() (see below), when neither the C library nor a
 * sanitizer is ready. It keeps the compiler from adding calls to either of them. */
#if defined(__clang__)
#define EARLY
#else
#define EARLY                                                                                      \
    __attribute__((noinline, no_sanitize("address", "thread", "undefined"),                        \
                   optimize("no-tree-loop-distribute-patterns")))
#endif

/* Returns the level whose name is these n characters, or -1 if there is none. */
EARLY static int level_of(const char *name, size_t n)
{
    int level = 0;
    for (const char *at = isa_names;; at++) {
        size_t same = 0;
        while (same < n && at[same] == name[same] && name[same] != '|')
            same++;
        if (same == n && (at[n] == '|' || at[n] == 0))
            return level;
        while (*at != '|')
            if (*at++ == 0)
                return -1;
        level++;
    }
}

/* Returns the highest level that SIMCLR_ISA allows. */
static enum isa allowed(void)
{
    const char *value = getenv(variable);
    if (!value || !*value)
        return ISA_AMX;
    const int level = level_of(value, strlen(value));
    return level < 0 ? ISA_PORTABLE : (enum isa)level;
}

int isa_check(void)
{
    const char *value = getenv(variable);
    if (value && *value && level_of(value, strlen(value)) < 0)
        return fail("%s is '%s', not one of %s", variable, value, isa_names);
    return 0;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Returns true if the processor has AMX and Linux lets this process keep tiles
 * (arch/x86/xstate.rst). */
static bool has_amx(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    unsigned a, b, c, d;
    const unsigned tile_and_bf16 = 1U << 24 | 1U << 22;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & tile_and_bf16) == tile_and_bf16 &&
           !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}

/* Returns a mask with one bit for each level that this machine has. */
static unsigned machine_levels(void)
{
    unsigned levels = 1U << ISA_PORTABLE;
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
        return levels;
    levels |= 1U << ISA_AVX2;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq"))
        return levels;
    levels |= 1U << ISA_AVX512;
    if (__builtin_cpu_supports("avx512bf16"))
        levels |= 1U << ISA_AVX512_BF16;
    if (has_amx())
        levels |= 1U << ISA_AMX;
    return levels;
}

#if !defined(__clang__)
/* Clones are chosen before main() and before the C library is ready: the compiler makes a resolver
 * for each of them, which calls libgcc's __cpu_indicator_init() and then looks at bits of
 * __cpu_features2. The linker redirects that call to the wrapper here (--wrap, in the Makefile),
 * which clears the bits of the levels that SIMCLR_ISA hides. Nothing here may call the C library or
 * be instrumented, since neither is set up yet. */
int __real___cpu_indicator_init(void);
int __wrap___cpu_indicator_init(void);
extern unsigned __cpu_features2[];

EARLY static long system_call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c)
                     : "rcx", "r11", "memory");
    return result;
}

/* Returns true if SIMCLR_ISA, in the environment that this process was started with, has a value
 * that names none of the levels from `from` upwards. It then hides the level `from`. */
EARLY static bool hides(enum isa from)
{
    static const char path[] = "/proc/self/environ", name[] = "SIMCLR_ISA=";
    const long file = system_call(SYS_open, (long)(intptr_t)path, 0, 0);
    if (file < 0)
        return false;
    char block[4096], value[16];
    unsigned at = 0, kept = 0; /* in this variable: bytes that match name, bytes of value */
    bool matches = true, found = false;
    long n;
    while (!found && (n = system_call(SYS_read, file, (long)(intptr_t)block, sizeof block)) > 0)
        for (long i = 0; i < n && !found; i++) {
            const char c = block[i];
            if (c == 0) {
                found = matches && at == sizeof name - 1;
                if (!found) {
                    at = kept = 0;
                    matches = true;
                }
            } else if (at < sizeof name - 1)
                matches = c == name[at++] && matches;
            else if (kept < sizeof value)
                value[kept++] = c;
        }
    system_call(SYS_close, file, 0, 0);
    return found && kept > 0 && level_of(value, kept) < (int)from;
}

/* Clears the bit that __builtin_cpu_supports(NAME) tests. The compiler decides which bit that is,
 * so this tries each of them and keeps the change that turns the answer to no. */
#define CLEAR(NAME)                                                                                \
    for (unsigned bit = 0; bit < 96 && __builtin_cpu_supports(NAME); bit++) {                      \
        volatile unsigned *word = &__cpu_features2[bit / 32];                                      \
        const unsigned old = *word;                                                                \
        *word = old & ~(1U << bit % 32);                                                           \
        __asm__ volatile("" ::: "memory");                                                         \
        if (__builtin_cpu_supports(NAME))                                                          \
            *word = old;                                                                           \
    }

EARLY int __wrap___cpu_indicator_init(void)
{
    static bool done;
    if (done)
        return 0;
    done = true;
    const int status = __real___cpu_indicator_init();
    if (hides(ISA_AVX512))
        CLEAR("x86-64-v4")
    if (hides(ISA_AVX2))
        CLEAR("x86-64-v3")
    return status;
}
#endif

#else

static unsigned machine_levels(void)
{
    return 1U << ISA_PORTABLE;
}

#endif

bool isa_has(enum isa level)
{
    static atomic_uint levels; /* cached; threads that compute it at once get the same value */
    unsigned known = atomic_load_explicit(&levels, memory_order_relaxed);
    if (!known) {
        known = machine_levels() & ((2U << allowed()) - 1);
        atomic_store_explicit(&levels, known, memory_order_relaxed);
    }
    return known >> level & 1;
}
