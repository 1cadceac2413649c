/* Tests of onnx_wire and onnx_graph: bytes of the wire format, and files that would be too large.
 * tests/programs/export_model.sh reads whole models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "onnx/onnx_graph.h"
#include "onnx/onnx_wire.h"

#include <cmocka.h>

static void expect(struct onnx_wire *w, const void *bytes, size_t size)
{
    assert_false(w->failed);
    assert_int_equal(w->size, size);
    assert_memory_equal(w->data, bytes, size);
    onnx_wire_free(w);
}

/* The first three are the examples of https://protobuf.dev/programming-guides/encoding/. */
static void test_examples_of_the_format(void **state)
{
    (void)state;
    struct onnx_wire w = {0}, inner = {0};
    onnx_wire_integer(&w, 1, 150);
    expect(&w, "\x08\x96\x01", 3);
    onnx_wire_text(&w, 2, "testing");
    expect(&w, "\x12\x07testing", 9);
    onnx_wire_integer(&inner, 1, 150);
    onnx_wire_message(&w, 3, &inner);
    assert_null(inner.data);
    expect(&w, "\x1a\x03\x08\x96\x01", 5);
    onnx_wire_integer(&w, 5, -2);
    expect(&w, "\x28\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
    onnx_wire_float(&w, 2, 1);
    expect(&w, "\x15\x00\x00\x80\x3f", 5);
    onnx_wire_integer(&w, 20, 7);
    expect(&w, "\xa0\x01\x07", 3);
}

static void test_a_message_grows(void **state)
{
    (void)state;
    struct onnx_wire w = {0};
    for (int i = 0; i < 1000; i++)
        onnx_wire_integer(&w, 1, 1);
    assert_int_equal(w.size, 2000);
    for (int i = 0; i < 1000; i++)
        assert_memory_equal(w.data + 2 * i, "\x08\x01", 2);
    onnx_wire_free(&w);
}

static void test_a_lack_of_memory_is_passed_on(void **state)
{
    (void)state;
    struct onnx_wire w = {0}, inner = {.failed = true};
    onnx_wire_message(&w, 1, &inner);
    assert_true(w.failed);
    onnx_wire_free(&w);
}

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
        cmocka_unit_test(test_examples_of_the_format),
        cmocka_unit_test(test_a_message_grows),
        cmocka_unit_test(test_a_lack_of_memory_is_passed_on),
        cmocka_unit_test(test_files_over_2_gib_are_refused),
        cmocka_unit_test(test_sizes_that_overflow_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
