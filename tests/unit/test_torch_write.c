/* Tests of torch_write: files of every element type come back through torch_file, and defects.
 * tests/programs/export_model.sh reads such files with Python, tests/full/export_readers.sh with
 * PyTorch. */
#include "python/torch_write.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "frame/frame.h"
#include "python/torch_file.h"

#include <cmocka.h>

static void expect(const struct frame *f, const char *name, enum dtype dtype, int ndim,
                   const int64_t *shape, const void *values, size_t bytes)
{
    const struct tensor *t = frame_need(f, name, dtype, ndim, shape);
    if (!t)
        fail_msg("%s", fail_message());
    assert_int_equal(t->bytes, bytes);
    assert_memory_equal(t->data, values, bytes);
}

static void test_every_element_type(void **state)
{
    (void)state;
    float f32[] = {1, -2.5f, 3e38f, 0, -0.0f, 1e-40f};
    uint16_t bf16[] = {0x3f80, 0xc000}, f16[] = {0x3c00, 0xc000};
    uint8_t u8[] = {0, 200, 255};
    int32_t i32[] = {INT32_MIN, 7};
    int64_t i64[] = {INT64_MIN, INT64_MAX}, scalar = 70000;
    float none;
    struct tensor t[] = {
        {"layer1.0.conv1.weight", DTYPE_F32, 2, {2, 3}, sizeof f32, f32},
        {"bf16", DTYPE_BF16, 1, {2}, sizeof bf16, bf16},
        {"f16", DTYPE_F16, 1, {2}, sizeof f16, f16},
        {"u8", DTYPE_U8, 4, {1, 3, 1, 1}, sizeof u8, u8},
        {"i32", DTYPE_I32, 1, {2}, sizeof i32, i32},
        {"i64", DTYPE_I64, 2, {2, 1}, sizeof i64, i64},
        {"scalar", DTYPE_I64, 0, {0}, sizeof scalar, &scalar},
        {"empty", DTYPE_F32, 3, {2, 0, 3}, 0, &none},
    };
    enum { N = sizeof t / sizeof *t };
    char folder[] = "/tmp/test_torch_write.XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.pth", folder);
    assert_int_equal(torch_write(t, N, path), 0);
    struct frame *f = torch_file_load(path, NULL, NULL);
    if (!f)
        fail_msg("%s", fail_message());
    assert_int_equal(f->n_tensors, N);
    /* The reader widens halves to float32 and integers to int64. */
    const float halves[] = {1, -2};
    const int64_t bytes[] = {0, 200, 255}, integers[] = {INT32_MIN, 7};
    expect(f, t[0].name, DTYPE_F32, 2, t[0].shape, f32, sizeof f32);
    expect(f, "bf16", DTYPE_F32, 1, t[1].shape, halves, sizeof halves);
    expect(f, "f16", DTYPE_F32, 1, t[2].shape, halves, sizeof halves);
    expect(f, "u8", DTYPE_I64, 4, t[3].shape, bytes, sizeof bytes);
    expect(f, "i32", DTYPE_I64, 1, t[4].shape, integers, sizeof integers);
    expect(f, "i64", DTYPE_I64, 2, t[5].shape, i64, sizeof i64);
    expect(f, "scalar", DTYPE_I64, 0, t[6].shape, &scalar, sizeof scalar);
    expect(f, "empty", DTYPE_F32, 3, t[7].shape, &none, 0);
    frame_free(f);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
}

static void test_a_file_that_cannot_be_written(void **state)
{
    (void)state;
    float value = 1;
    const struct tensor t = {"w", DTYPE_F32, 1, {1}, sizeof value, &value};
    assert_int_equal(torch_write(&t, 1, "no-such-folder/x.pth"), -1);
    assert_string_equal(fail_message(), "no-such-folder/x.pth: No such file or directory");
    assert_int_equal(torch_write(&t, 1, "/dev/full"), -1);
    assert_string_equal(fail_message(), "/dev/full: No space left on device");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_element_type),
        cmocka_unit_test(test_a_file_that_cannot_be_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
