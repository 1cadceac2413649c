/* Tests the engine of an OpenCL device against the reference engine of plain loops in double: each
 * operation by itself on odd sizes, and whole networks. It runs on the device that SIMCLR_TEST_DEVICE
 * names, or the first one, which may be the processor (PoCL); without OpenCL it is skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/fail.h"
#include "device/engine_opencl.h"
#include "engine_reference.h"

#include "engine_cases.h" /* comes last, with cmocka.h */

enum { THREADS = 2 };

static const char *device(void)
{
    const char *named = getenv("SIMCLR_TEST_DEVICE");
    return named ? named : "opencl";
}

static void test_networks(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        struct engine *e = engine_opencl_new(device(), THREADS);
        if (!e)
            fail_msg("%s", fail_message());
        struct made want = run_step(&cases[i], engine_reference_new(THREADS));
        struct made m = run_step(&cases[i], e);
        const struct errors off = compare(&m, &want);
        print_message("%-24s %6.1f %6.1f\n", cases[i].name, off.out / 0x1p-24,
                      off.gradient / 0x1p-24);
        if (!(off.out <= 48 * 0x1p-24 && off.gradient <= 256 * 0x1p-24))
            fail_msg("%s: outputs are off by %g, gradients by %g", cases[i].name, off.out,
                     off.gradient);
        free_made(&m);
        free_made(&want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_networks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
