/* Tests encoder.h and normalization.h: descriptions read back as they were written, and wrong ones
 * are refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/fail.h"
#include "network/encoder.h"

#include <cmocka.h>

static void reads_back(const char *text, const char *printed)
{
    struct encoder e;
    char again[ENCODER_TEXT];
    assert_int_equal(encoder_parse(text, &e), 0);
    encoder_print(&e, again);
    assert_string_equal(again, printed);
    struct encoder other;
    assert_int_equal(encoder_parse(again, &other), 0);
    assert_memory_equal(&e.normalize, &other.normalize, sizeof e.normalize);
    assert_true(e.width == other.width && e.size == other.size && e.channels == other.channels);
}

static void test_descriptions_read_back(void **state)
{
    (void)state;
    const char design[] = "arch=resnet18 width=0.25 stem=cifar normalize=none sk=0 size=32";
    reads_back(design, design);
    reads_back("  size=32 sk=0  normalize=none stem=cifar width=0.25 arch=resnet18 ", design);
    reads_back("arch=resnet50 width=0.1 stem=imagenet normalize=0.485,0.456,0.406/.229,.224,.225 "
               "sk=1 size=224 channels=5",
               "arch=resnet50 width=0.1 stem=imagenet normalize=imagenet sk=1 "
               "size=224 channels=5");
    reads_back("arch=resnet1d width=1 stem=imagenet normalize=0.1,0.3333/1,2 channels=2",
               "arch=resnet1d width=1 stem=imagenet normalize=0.100000001,0.333299994/1,2 sk=0 "
               "size=0 channels=2");
}

static void test_wrong_descriptions_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "arch=resnet18",
        "arch=resnet18 width=1",
        "arch=resnet19 width=1 stem=cifar",
        "arch= width=1 stem=cifar",
        "arch=resnet18 width=0 stem=cifar",
        "arch=resnet18 width=nan stem=cifar",
        "arch=resnet18 width=65 stem=cifar",
        "arch=resnet18 width=1x stem=cifar",
        "arch=resnet18 width=1 stem=auto",
        "arch=resnet18 width=1 stem=cifar sk=2",
        "arch=resnet18 width=1 stem=cifar sk",
        "arch=resnet18 width=1 stem=cifar size=-1",
        "arch=resnet18 width=1 stem=cifar size=99999999999999999999",
        "arch=resnet18 width=1 stem=cifar channels=0",
        "arch=resnet18 width=1 stem=cifar color=red",
        "arch=resnet18 width=1 stem=cifar normalize=1,2/3",
        "arch=resnet18 width=1 stem=cifar normalize=1,2,3,4,5/1,2,3,4,5",
        "arch=resnet18 width=1 stem=cifar normalize=1,2,inf/1,1,1",
        "arch=resnet18 width=1 stem=cifar normalize=1,2,3/1,0,1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct encoder e;
        if (encoder_parse(wrong[i], &e) == 0)
            fail_msg("'%s' is taken", wrong[i]);
        assert_non_null(strstr(fail_message(), wrong[i]));
    }
    char endless[4000];
    memset(endless, 'a', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    struct encoder e;
    assert_int_equal(encoder_parse(endless, &e), -1);
}

static void test_the_plan_has_the_channels(void **state)
{
    (void)state;
    struct encoder e;
    assert_int_equal(encoder_parse("arch=resnet18 width=0.1 stem=cifar channels=5", &e), 0);
    struct plan *p = encoder_plan(&e);
    const struct parameter *first = &p->parameters.list[0];
    assert_string_equal(first->name, "conv1.weight");
    assert_int_equal(first->shape[0], 6);
    assert_int_equal(first->shape[1], 5);
    assert_int_equal(first->shape[2], 3);
    plan_free(p);
    assert_false(encoder_is_series(&e));
    assert_int_equal(encoder_parse("arch=resnet1d width=0.1 stem=cifar sk=1", &e), 0);
    assert_true(encoder_is_series(&e));
    assert_null(encoder_plan(&e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_descriptions_read_back),
        cmocka_unit_test(test_wrong_descriptions_are_refused),
        cmocka_unit_test(test_the_plan_has_the_channels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
