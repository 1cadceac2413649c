/* Tests of cli/nearest: distances are counted by hand. */
#include "cli/nearest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char *const names[] = {"temperature", "threads", "timeout", "in", "out", "save-every"};

static const char *find(const char *word)
{
    return nearest_name(word, names, sizeof names / sizeof *names);
}

static void test_misspelt(void **state)
{
    (void)state;
    assert_string_equal(find("temprature"), "temperature");   /* one letter is missing */
    assert_string_equal(find("temperaturee"), "temperature"); /* one too many */
    assert_string_equal(find("tempereture"), "temperature");  /* another one */
    assert_string_equal(find("theards"), "threads");          /* two, by a swap and ... */
    assert_string_equal(find("tiemout"), "timeout");          /* a swap */
    assert_string_equal(find("Threads"), "threads");
    assert_string_equal(find("saveevery"), "save-every");
}

static void test_far(void **state)
{
    (void)state;
    assert_null(find("learning-rate"));
    assert_null(find("xx")); /* two letters may not both be wrong */
    assert_null(find(""));
    assert_null(find("aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaa"));
    assert_null(nearest_name("in", names, 0));
}

static void test_beginning(void **state)
{
    (void)state;
    assert_string_equal(find("temp"), "temperature");
    assert_string_equal(find("save"), "save-every");
    assert_null(find("t")); /* three names begin with it */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_misspelt),
        cmocka_unit_test(test_far),
        cmocka_unit_test(test_beginning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
