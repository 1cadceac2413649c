/* Tests SIMCLR_ISA: which kernels and function versions it excludes, and which values it refuses.
 * Each value is tested in a process of its own, because versions are chosen before main(). */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/isa.h"
#include "base/multiversion.h"
#include "engine/gemm_kernel.h"

/* Returns whether multiplications and additions are fused. (1 + e)^2 - (1 + 2 e) is e^2, which the
 * rounding of a separate multiplication loses; compilers fuse them from -O2 on. */
#if defined(__clang__)
#define OPTIMIZED
#else
#define OPTIMIZED __attribute__((optimize("O2")))
#endif
OPTIMIZED MULTIVERSION static float square_less(float x, float y)
{
    return x * x - y;
}

static bool fuses(void)
{
    volatile float e = 0x1p-14F;
    return square_less(1 + e, 1 + 2 * e) != 0;
}

/* Prints the levels and kernels that this process finds, a line for each. */
static int look(void)
{
    printf("check %s\n", isa_check() < 0 ? fail_message() : "ok");
    for (int level = ISA_PORTABLE; level <= ISA_AMX; level++)
        printf("has %d %d\n", level, isa_has((enum isa)level));
    for (const char *const *name = gemm_kernel_names; *name; name++)
        if (gemm_kernel_find(*name)->usable())
            printf("usable %s\n", *name);
    printf("fuses %d\n", fuses());
#if defined(__x86_64__) && !defined(__clang__)
    printf("clones %d %d\n", !!__builtin_cpu_supports("x86-64-v3"),
           !!__builtin_cpu_supports("x86-64-v4"));
#endif
    return 0;
}

/* Returns the output of a process that is started with SIMCLR_ISA=value (NULL: unset), and with an
 * environment that is longer than one read of it. */
static char *seen(const char *value)
{
    static char text[2000];
    int line[2], status;
    assert_int_equal(pipe(line), 0);
    const pid_t child = fork();
    if (child == 0) {
        char *filler = malloc(20000);
        memset(filler, 'x', 19999);
        filler[19999] = 0;
        setenv("FILLER", filler, 1);
        unsetenv("SIMCLR_ISA");
        if (value)
            setenv("SIMCLR_ISA", value, 1);
        dup2(line[1], STDOUT_FILENO);
        execl("/proc/self/exe", "test_isa", "look", (char *)NULL);
        _exit(9);
    }
    close(line[1]);
    size_t n = 0;
    for (ssize_t k; n < sizeof text - 1 && (k = read(line[0], text + n, sizeof text - 1 - n)) > 0;)
        n += (size_t)k;
    text[n] = 0;
    close(line[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    return text;
}

static bool says(const char *text, const char *line)
{
    const size_t n = strlen(line);
    for (const char *at = text; (at = strstr(at, line)); at++)
        if ((at == text || at[-1] == '\n') && at[n] == '\n')
            return true;
    return false;
}

static const char *const names[] = {"portable", "avx2", "avx512", "avx512-bf16", "amx"};
enum { LEVELS = sizeof names / sizeof *names };

/* Under each value a process must find the machine's levels up to it, and none above. */
static void test_levels(void **state)
{
    (void)state;
    char machine[2000], line[40];
    strcpy(machine, seen(NULL));
    assert_true(says(machine, "check ok"));
    for (int limit = 0; limit < LEVELS; limit++) {
        const char *text = seen(names[limit]);
        assert_true(says(text, "check ok"));
        for (int level = 0; level < LEVELS; level++) {
            snprintf(line, sizeof line, "has %d 1", level);
            assert_int_equal(says(text, line), level <= limit && says(machine, line));
        }
    }
}

/* Kernels and function versions must follow the levels. */
static void test_choices(void **state)
{
    (void)state;
    static const char *const kernels[] = {"usable fp32-portable", "usable fp32-avx2",
                                          "usable fp32-avx512", "usable bf16-avx512",
                                          "usable bf16-amx"};
    for (int limit = -1; limit < LEVELS; limit++) {
        const char *text = seen(limit < 0 ? "" : names[limit]);
        bool has[LEVELS];
        char line[40];
        for (int level = 0; level < LEVELS; level++) {
            snprintf(line, sizeof line, "has %d 1", level);
            has[level] = says(text, line);
            assert_int_equal(says(text, kernels[level]), has[level]);
        }
#if defined(__x86_64__) && !defined(__clang__)
        assert_int_equal(says(text, "fuses 1"), has[ISA_AVX2]);
        snprintf(line, sizeof line, "clones %d %d", has[ISA_AVX2], has[ISA_AVX512]);
        assert_true(says(text, line));
#endif
    }
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"sse",
                                        "avx",
                                        "avx5122",
                                        "portable|avx2",
                                        "AVX2",
                                        " avx2",
                                        "avx512-bf16-and-more-than-any-name"};
    char line[200];
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *text = seen(wrong[i]);
        snprintf(line, sizeof line, "check SIMCLR_ISA is '%s', not one of %s", wrong[i], isa_names);
        assert_true(says(text, line));
        assert_true(says(text, "has 1 0"));
    }
}

int main(int argc, char **argv)
{
    (void)argv;
    if (argc > 1)
        return look();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_choices),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
