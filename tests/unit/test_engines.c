/* Tests every engine of this machine, and one with a kernel of an unusual shape, against the
 * reference engine of plain loops in double. The tests run whole networks: forward, backward, in
 * chunks, frozen, with selective kernels, and on series. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "emulated.h"
#include "engine/engine_cpu.h"
#include "engine_reference.h"
#include "gemm_8x12.h"

#include "engine_cases.h" /* comes last, with cmocka.h */

enum { THREADS = 2 };

/* The errors that a precision may have, in multiples of its unit roundoff, which is the largest
 * relative error of rounding a number. In fp32 a sum is rounded at each step; in the other
 * precisions sums are float32, and the value of a map is rounded once. The largest measured errors,
 * of outputs and of gradients, are 17 and 194 in fp32, 15 and 83 in bf16, 5 and 32 in fp32x3. */
static const struct bound {
    const char *name;
    double roundoff, out, gradient;
} bounds[] = {
    [ENGINE_FP32] = {"fp32", 0x1p-24, 48, 256},
    [ENGINE_BF16] = {"bf16", 0x1p-9, 16, 112},
    [ENGINE_FP32X3] = {"fp32x3", 0x1p-17, 16, 112},
};

static void check_kernel(const struct network_case *c, const struct made *want,
                         const struct gemm_kernel *kernel)
{
    for (enum engine_precision p = ENGINE_FP32; p <= ENGINE_FP32X3; p++) {
        if (p == (kernel->values == GEMM_BF16 ? ENGINE_FP32 : ENGINE_FP32X3))
            continue;
        struct made m = run_step(c, engine_cpu_new(kernel, p, THREADS));
        const struct errors e = compare(&m, want);
        const double out = e.out / bounds[p].roundoff;
        const double gradient = e.gradient / bounds[p].roundoff;
        print_message("%-24s %-6s by %-14s %6.1f %6.1f\n", c->name, bounds[p].name, kernel->name,
                      out, gradient);
        if (!(out <= bounds[p].out && gradient <= bounds[p].gradient))
            fail_msg("%s, %s by %s: outputs are off by %.1f roundoffs, gradients by %.1f", c->name,
                     bounds[p].name, kernel->name, out, gradient);
        free_made(&m);
    }
}

static void test_all_engines_compute_the_same(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct made want = run_step(&cases[i], engine_reference_new(THREADS));
        for (int k = 0; gemm_kernel_names[k]; k++)
            if (runs(gemm_kernel_find(gemm_kernel_names[k])))
                check_kernel(&cases[i], &want, gemm_kernel_find(gemm_kernel_names[k]));
        check_kernel(&cases[i], &want, &gemm_8x12);
        free_made(&want);
    }
}

/* ---- choosing ---- */

/* The choices of the option must be "auto" and the names of all kernels. */
static void test_every_kernel_can_be_chosen(void **state)
{
    (void)state;
    char names[256] = "auto";
    for (int k = 0; gemm_kernel_names[k]; k++) {
        assert_non_null(gemm_kernel_find(gemm_kernel_names[k]));
        strcat(strcat(names, "|"), gemm_kernel_names[k]);
    }
    assert_string_equal(engine_kernels, names);
}

static void check_choice(const char *precision, const char *kernel, const char *message)
{
    struct engine *e = engine_choose(precision, kernel, 1);
    if (message) {
        assert_null(e);
        assert_string_equal(fail_message(), message);
    } else {
        assert_non_null(e);
        assert_string_equal(e->name, kernel);
        assert_int_equal(e->element, strcmp(precision, "bf16") ? 4 : 2);
    }
    engine_free(e);
}

static void test_choosing(void **state)
{
    (void)state;
    check_choice("fp32", "fp32-portable", NULL);
    check_choice("bf16", "fp32-portable", NULL);
    check_choice("fp32x3", "fp32-portable", "kernel fp32-portable does not compute fp32x3");
    const struct gemm_kernel *bf16 = gemm_kernel_find("bf16-avx512");
    const bool usable = bf16 && bf16->usable();
    check_choice("fp32", "bf16-avx512",
                 usable ? "kernel bf16-avx512 does not compute fp32"
                        : "this machine lacks the instructions of kernel bf16-avx512");
    if (usable) {
        check_choice("bf16", "bf16-avx512", NULL);
        check_choice("fp32x3", "bf16-avx512", NULL);
    }
    struct engine *e = engine_choose("fp32", "auto", 3);
    assert_non_null(e);
    assert_int_equal(e->threads, 3);
    engine_free(e);
}

int main(int argc, char **argv)
{
    (void)argc;
    const struct gemm_kernel *amx = gemm_kernel_find("bf16-amx");
    if (amx && !amx->usable() && lends(amx))
        run_emulated(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_engines_compute_the_same),
        cmocka_unit_test(test_every_kernel_can_be_chosen),
        cmocka_unit_test(test_choosing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
