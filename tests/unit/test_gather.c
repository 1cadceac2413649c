/* Tests gather with frames without rows among others. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "program/gather.h"

static struct frame *frame_of(int64_t rows, int64_t first)
{
    const struct tensor_spec specs[] = {{"x", DTYPE_U8, 3, {rows, 1, 2}},
                                        {"index", DTYPE_I64, 1, {rows}}};
    struct frame *f = frame_new(specs, 2);
    assert_non_null(f);
    for (int64_t i = 0; i < rows; i++) {
        uint8_t *x = frame_find(f, "x")->data;
        x[2 * i] = (uint8_t)(first + i);
        ((int64_t *)frame_find(f, "index")->data)[i] = first + i;
    }
    return f;
}

static void check_rows(const struct frame *f, int64_t rows, int64_t first)
{
    const struct tensor *x = frame_find(f, "x"), *index = frame_find(f, "index");
    assert_true(x->ndim == 3 && x->shape[0] == rows && x->shape[1] == 1 && x->shape[2] == 2);
    assert_true(index->ndim == 1 && index->shape[0] == rows);
    for (int64_t i = 0; i < rows; i++) {
        assert_int_equal(((const uint8_t *)x->data)[2 * i], first + i);
        assert_int_equal(((const int64_t *)index->data)[i], first + i);
    }
}

/* Gathers the rows of workers that have a, b and c rows, and splits the result into their rows
 * again. */
static void there_and_back(int64_t a, int64_t b, int64_t c)
{
    struct frame *frames[] = {frame_of(a, 0), frame_of(b, a), frame_of(c, a + b)};
    const int64_t want[] = {a, b, c};
    int64_t rows[3], first = 0;
    struct frame *whole = gather_rows(frames, 3, rows);
    assert_non_null(whole);
    check_rows(whole, a + b + c, 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rows[i], want[i]);
        struct frame *part = gather_part(whole, first, rows[i], a + b + c);
        assert_non_null(part);
        check_rows(part, want[i], first);
        first += rows[i];
        frame_free(part);
        frame_free(frames[i]);
    }
    frame_free(whole);
}

static void without_rows(void **state)
{
    (void)state;
    there_and_back(2, 3, 1);
    there_and_back(0, 3, 1);
    there_and_back(2, 0, 0);
    there_and_back(0, 0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(without_rows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
