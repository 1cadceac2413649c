/* Tests of protobuf and crc32c: bytes of the wire format, and the check values of the standard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/protobuf.h"

#include <cmocka.h>

static void expect(struct protobuf *w, const void *bytes, size_t size)
{
    assert_false(w->failed);
    assert_int_equal(w->size, size);
    assert_memory_equal(w->data, bytes, size);
    protobuf_free(w);
}

/* The first three are the examples of https://protobuf.dev/programming-guides/encoding/. */
static void test_examples_of_the_format(void **state)
{
    (void)state;
    struct protobuf w = {0}, inner = {0};
    protobuf_integer(&w, 1, 150);
    expect(&w, "\x08\x96\x01", 3);
    protobuf_text(&w, 2, "testing");
    expect(&w, "\x12\x07testing", 9);
    protobuf_integer(&inner, 1, 150);
    protobuf_message(&w, 3, &inner);
    assert_null(inner.data);
    expect(&w, "\x1a\x03\x08\x96\x01", 5);
    protobuf_integer(&w, 5, -2);
    expect(&w, "\x28\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11);
    protobuf_float(&w, 2, 1);
    expect(&w, "\x15\x00\x00\x80\x3f", 5);
    protobuf_double(&w, 1, -2);
    expect(&w, "\x09\x00\x00\x00\x00\x00\x00\x00\xc0", 9);
    protobuf_integer(&w, 20, 7);
    expect(&w, "\xa0\x01\x07", 3);
}

static void test_a_message_grows(void **state)
{
    (void)state;
    struct protobuf w = {0};
    for (int i = 0; i < 1000; i++)
        protobuf_integer(&w, 1, 1);
    assert_int_equal(w.size, 2000);
    for (int i = 0; i < 1000; i++)
        assert_memory_equal(w.data + 2 * i, "\x08\x01", 2);
    protobuf_free(&w);
}

static void test_a_lack_of_memory_is_passed_on(void **state)
{
    (void)state;
    struct protobuf w = {0}, inner = {.failed = true};
    protobuf_message(&w, 1, &inner);
    assert_true(w.failed);
    protobuf_free(&w);
}

/* The first value is the usual check of a CRC, the others are the examples of RFC 3720, B.4. */
static void test_crc_of_the_standard(void **state)
{
    (void)state;
    unsigned char bytes[32] = {0};
    assert_int_equal(crc32c("123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(bytes, 32), 0x8a9136aa);
    memset(bytes, 0xff, 32);
    assert_int_equal(crc32c(bytes, 32), 0x62a8ab43);
    for (unsigned char i = 0; i < 32; i++)
        bytes[i] = i;
    assert_int_equal(crc32c(bytes, 32), 0x46dd794e);
    assert_int_equal(crc32c(NULL, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples_of_the_format),
        cmocka_unit_test(test_a_message_grows),
        cmocka_unit_test(test_a_lack_of_memory_is_passed_on),
        cmocka_unit_test(test_crc_of_the_standard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
