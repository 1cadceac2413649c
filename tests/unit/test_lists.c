/* Tests brace_expand, classes, image_cache, read_errors and size_sample, the small lists of a data
 * set. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/brace_expand.h"
#include "data/classes.h"
#include "data/read_errors.h"
#include "data/size_sample.h"
#include "views/image_cache.h"

static void braces(void **state)
{
    (void)state;
    /* Patterns and their names, as bash expands them. */
    static const struct {
        const char *pattern, *names;
    } cases[] = {
        {"plain.tar", "plain.tar"},     {"a-{000..002}.tar", "a-000.tar a-001.tar a-002.tar"},
        {"a-{9..11}", "a-9 a-10 a-11"}, {"a-{08..11}", "a-08 a-09 a-10 a-11"},
        {"a-{2..0}", "a-2 a-1 a-0"},    {"{x,yy,}.tar", "x.tar yy.tar .tar"},
        {"{a,b}{0..1}", "a0 a1 b0 b1"}, {"a{b}c", "a{b}c"},
        {"a{b..c}d", "a{b..c}d"},       {"{}", "{}"},
        {"a{b}{1..2}", "a{b}1 a{b}2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char **names, joined[256] = "";
        int64_t n;
        assert_int_equal(brace_expand(cases[i].pattern, &names, &n), 0);
        for (int64_t k = 0; k < n; k++) {
            strcat(joined, k ? " " : "");
            strcat(joined, names[k]);
        }
        assert_string_equal(joined, cases[i].names);
        brace_expand_free(names, n);
    }
    char **names;
    int64_t n;
    assert_int_equal(brace_expand("a{1..3", &names, &n), -1);
    assert_non_null(strstr(fail_message(), "does not close"));
    assert_int_equal(brace_expand("a{0..999999999}", &names, &n), -1);
    assert_int_equal(brace_expand("{0..999}{0..999}{0..999}", &names, &n), -1);
    assert_non_null(strstr(fail_message(), "more than"));
}

static void numbers(void **state)
{
    (void)state;
    struct classes c = {0};
    static const char *const words[] = {"dog", "Cat", "ape", "dog", "cat", "ape"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        assert_int_equal(classes_add(&c, words[i]), 0);
    assert_int_equal(c.n, 4);
    assert_int_equal(classes_number(&c, "Cat"), 0); /* in byte order, capitals come first */
    assert_int_equal(classes_number(&c, "ape"), 1);
    assert_int_equal(classes_number(&c, "dog"), 3);
    assert_int_equal(classes_number(&c, "cow"), -1);
    classes_free(&c);
}

static void kept(void **state)
{
    (void)state;
    uint8_t pixels[4 * 5 * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)i;
    struct scaled_image image = {pixels, 4, 5, 1, {0}}, back;
    int64_t label;
    struct image_cache *k = image_cache_new(10, 200); /* room for two images with their headers */
    assert_non_null(k);
    image_cache_put(k, 3, &image, 7);
    image_cache_put(k, 3, &image, 8);
    image_cache_put(k, 4, &image, 9);
    image_cache_put(k, 9, &image, 9);
    assert_true(image_cache_get(k, 3, &back, &label));
    assert_int_equal(label, 7);
    assert_true(back.width == 4 && back.height == 5 && back.denominator == 1);
    assert_memory_equal(back.pixels, pixels, sizeof pixels);
    assert_true(image_cache_get(k, 4, &back, &label));
    assert_false(image_cache_get(k, 9, &back, &label) || image_cache_get(k, 0, &back, &label));
    image_cache_free(k);
}

static int damage(struct read_errors *s, int64_t index, int64_t images)
{
    (fail)("%lld.png: damaged", (long long)index);
    return read_errors_add_image(s, index, images);
}

static void skipped(void **state)
{
    (void)state;
    struct read_errors *s = read_errors_new(true);
    assert_int_equal(damage(s, 0, 1000000), -1);
    assert_string_equal(fail_message(), "0.png: damaged");
    read_errors_free(s);

    s = read_errors_new(false);
    assert_int_equal(damage(s, 5, 1), 0); /* one may be damaged, however few there are */
    assert_int_equal(damage(s, 5, 1), 0); /* the same one again */
    assert_int_equal(damage(s, 6, 199), -1);
    assert_non_null(strstr(fail_message(), "6.png: damaged: the 2nd unreadable one of 199 images"));
    read_errors_free(s);

    s = read_errors_new(false);
    for (int i = 0; i < 10; i++)
        assert_int_equal(damage(s, (7 * i) % 10, 1000), 0);
    assert_int_equal(read_errors_image_count(s), 10);
    assert_int_equal(damage(s, 3, 1000), 0);
    assert_int_equal(damage(s, 11, 1000), -1);
    read_errors_free(s);
}

static int bad_label(struct read_errors *s, int64_t before)
{
    (fail)("set.tar: %lld.cls: no number", (long long)before);
    return read_errors_add_label(s, before);
}

/* Labels must be counted separately from images, and checked when the number of images is known. */
static void labels(void **state)
{
    (void)state;
    struct read_errors *s = read_errors_new(true);
    assert_int_equal(bad_label(s, 0), -1);
    assert_string_equal(fail_message(), "set.tar: 0.cls: no number");
    read_errors_free(s);

    s = read_errors_new(false);
    assert_int_equal(bad_label(s, 0), 0);
    assert_int_equal(read_errors_check_labels(s, 1), 0); /* one, however few there are */
    assert_int_equal(damage(s, 5, 100), 0);              /* not a second label error */
    assert_int_equal(bad_label(s, 1), 0);
    assert_int_equal(read_errors_check_labels(s, 200), 0);
    assert_int_equal(read_errors_check_labels(s, 199), -1);
    assert_string_equal(fail_message(),
                        "set.tar: 1.cls: no number: the 2nd label of 199 images that cannot be "
                        "read, and more than 1 %");
    assert_int_equal(bad_label(s, 0) | bad_label(s, 1), 0); /* as in another pass */
    assert_int_equal(read_errors_label_count(s), 2);
    assert_int_equal(bad_label(s, 2), 0);
    assert_int_equal(read_errors_label_count(s), 3);
    assert_int_equal(read_errors_image_count(s), 1);
    read_errors_free(s);
}

static void look_at(struct size_sample *s, int width, int height, int n)
{
    for (int i = 0; i < n; i++)
        if (size_sample_wants(s))
            size_sample_add(s, width, height);
        else
            size_sample_skip(s);
}

static void sizes(void **state)
{
    (void)state;
    int agree, looked_at;
    struct size_sample s = {.stride = 1};
    assert_int_equal(size_sample_most(&s, &agree, &looked_at), 0);
    assert_true(agree == 0 && looked_at == 0);
    look_at(&s, 16, 16, 1);
    assert_int_equal(size_sample_most(&s, &agree, &looked_at), 16);
    look_at(&s, 0, 0, 3); /* cannot be read */
    look_at(&s, 640, 480, 1);
    assert_int_equal(size_sample_most(&s, &agree, &looked_at), 0); /* as frequent, and larger */
    assert_true(agree == 1 && looked_at == 2);
    look_at(&s, 32, 32, 3);
    look_at(&s, 300, 300, 1);
    assert_int_equal(size_sample_most(&s, &agree, &looked_at), 32);
    look_at(&s, 63, 64, 1); /* sizes above SIZE_SAMPLE_SMALL are one kind */
    assert_int_equal(size_sample_most(&s, &agree, &looked_at), 0);
    assert_true(agree == 3 && looked_at == 7);

    /* Every fourth of 200 images: 0, 4, ..., 196. */
    s = (struct size_sample){.stride = 1};
    look_at(&s, 8, 8, 1);
    for (int i = 1; i < 200; i++)
        look_at(&s, i % 4 ? 9 : 10, i % 4 ? 9 : 10, 1);
    assert_int_equal(size_sample_most(&s, &agree, &looked_at), 10);
    assert_true(s.stride == 4 && agree == 49 && looked_at == 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(braces),  cmocka_unit_test(numbers), cmocka_unit_test(kept),
        cmocka_unit_test(skipped), cmocka_unit_test(labels),  cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
