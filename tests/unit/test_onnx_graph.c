/* Tests of onnx_graph: files that would be too large. tests/programs/export_model.sh reads whole models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "onnx/onnx_graph.h"

#include <cmocka.h>

/* Writes a model with a tensor of that shape, whose values are never read. */
static int write_large(int64_t rows)
{
    static const float none;
    struct onnx_graph *g = onnx_graph_new("large");
    assert_non_null(g);
    onnx_graph_tensor(g, "w", 2, (const int64_t[]){rows, 1 << 20}, &none);
    const int bad = onnx_graph_write(g, "too-large.onnx");
    onnx_graph_free(g);
    assert_int_equal(access("too-large.onnx", F_OK), -1);
    return bad;
}

static void test_files_over_2_gib_are_refused(void **state)
{
    (void)state;
    assert_int_equal(write_large(512), -1);
    assert_non_null(strstr(fail_message(), "too-large.onnx: the model has 214748"));
    assert_non_null(strstr(fail_message(), "at most 2 GiB"));
}

static void test_sizes_that_overflow_are_refused(void **state)
{
    (void)state;
    assert_int_equal(write_large(INT64_MAX / 2), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files_over_2_gib_are_refused),
        cmocka_unit_test(test_sizes_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
