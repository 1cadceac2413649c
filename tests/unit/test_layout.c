/* Tests layout, part, path, tar_links and ignored: parts and classes of paths, links in archives,
 * and the line about what is not read. */
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

#include "data/ignored.h"
#include "data/layout.h"
#include "data/part.h"
#include "data/path.h"
#include "data/tar_links.h"

/* Returns a settled layout of images at these paths, which NULL ends, or NULL with a message. */
static struct layout *lay_out(const char *const *paths, const char *split, bool hold)
{
    struct layout *l = layout_new();
    assert_non_null(l);
    for (; *paths; paths++)
        assert_int_equal(layout_add_image(l, *paths), 0);
    if (layout_settle(l, "photos", split, hold) == 0)
        return l;
    layout_free(l);
    return NULL;
}

/* Checks the place of each path, one character each: a digit for its class, "-" for no class, "o"
 * for another part, "c" for an image beside classes, "p" for one beside parts. */
static void assert_places(const char *split, bool hold, const char *expected,
                          const char *const *paths)
{
    struct layout *l = lay_out(paths, split, hold);
    int64_t here = 0;
    assert_non_null(l);
    for (int i = 0; paths[i]; i++) {
        int64_t label;
        const enum layout_place place = layout_find(l, paths[i], &label);
        char seen = 'u';
        if (place == LAYOUT_IN_PART)
            seen = label < 0 ? '-' : (char)('0' + label);
        else if (place != LAYOUT_UNLISTED)
            seen = place == LAYOUT_OTHER_PART ? 'o' : place == LAYOUT_BESIDE_CLASSES ? 'c' : 'p';
        if (seen != expected[i])
            fail_msg("%s: %c, not %c", paths[i], seen, expected[i]);
        here += place == LAYOUT_IN_PART;
    }
    assert_int_equal(layout_count(l).in_part, here);
    layout_free(l);
}
#define PLACES(split, hold, expected, ...)                                                         \
    assert_places(split, hold, expected, (const char *const[]){__VA_ARGS__, NULL})
#define REFUSED(split, hold, message, ...)                                                         \
    do {                                                                                           \
        assert_null(lay_out((const char *const[]){__VA_ARGS__, NULL}, split, hold));               \
        assert_string_equal(fail_message(), message);                                              \
    } while (0)

static void parts(void **state)
{
    (void)state;
    PLACES("train", false, "012oo", "train/a/1", "train/b/1", "train/c/1", "test/a/1", "test/c/1");
    PLACES("test", false, "ooo02", "train/a/1", "train/b/1", "train/c/1", "test/a/1", "test/c/1");
    /* A class that is only in the test part has a number as well, and changes the numbers of
     * others. */
    PLACES("train", false, "02o", "TRAIN/a/1", "TRAIN/c/1", "Test/b/1");
    PLACES("test", false, "oo1", "train/a/1", "train/c/1", "valid/b/1");
    /* Validation is the test part only if there is no other. */
    PLACES("test", false, "o0o", "training/a/1", "test/a/1", "validation/a/1");
    PLACES("unlabeled", false, "--oo", "unlabeled/1", "unlabeled/a/1", "train/a/1", "train/b/1");
    /* Without parts, all of the data is the training part. */
    PLACES("train", false, "01c", "a/1", "b/x/1", "1");
    PLACES("train", true, "01", "a/1", "b/1");
    PLACES("train", true, "01", "train/a/1", "train/b/1");
    PLACES("train", false, "--", "1", "2");
    PLACES("train", false, "0op", "train/a/1", "test/a/1", "a/1");

    REFUSED("test", false,
            "photos has no test part (train, test, val); --hold 0.1 keeps a tenth of it back",
            "a/1", "b/1");
    REFUSED("test", false,
            "photos has no test part (train, test, val); --hold 0.1 keeps a tenth of it back",
            "train/a/1");
    REFUSED("train", false, "photos has no train part (train, training)", "val/a/1");
    REFUSED("unlabeled", false, "photos has no unlabeled part", "train/a/1");
    REFUSED("test", false, "photos has 2 folders that mean its test part, val among them",
            "val/a/1", "valid/a/1");
    REFUSED("train", true, "photos has a test part, and --hold is for data without one", "train/1",
            "Val/1");
}

static void roots(void **state)
{
    (void)state;
    PLACES("train", false, "01", "photos/a/1", "photos/b/1");
    PLACES("train", false, "01o", "x/y/train/a/1", "x/y/train/b/1", "x/y/test/b/1");
    PLACES("train", false, "00", "a/1", "a/2");     /* one class */
    PLACES("train", false, "00", "a/x/1", "a/x/2"); /* also if it is nested */
    PLACES("train", false, "00", "a/x/1", "a/2");
    PLACES("train", false, "01", "a/x/1", "b/x/1");
    /* A path that is deeper than the layout counts. */
    char deep[400] = "";
    for (int i = 0; i < 100; i++)
        strcat(deep, "d/");
    strcat(deep, "1");
    PLACES("train", false, "10", deep, "a/1");
}

static void tiny_imagenet(void **state)
{
    (void)state;
    static const char *const paths[] = {"train/n2/images/1", "train/n1/images/1", "val/images/v1",
                                        "val/images/v2", "test/images/t1"};
    static const struct {
        const char *wnids, *annotations, *split, *message;
        int labels[5]; /* -2: not of the part; -3: not listed */
    } cases[] = {
        {"n2\nn1\n", "v1\tn1\t0\nv2\tn2\t0\n", "train", NULL, {0, 1, -2, -2, -2}},
        {"n2\r\n\nn1", "v2\tn2\nv1\tn1", "test", NULL, {-2, -2, 1, 0, -2}},
        {"n2\nn1\n", "v2\tn1\n", "test", NULL, {-2, -2, -3, 1, -2}},
        {"n2\nn1\n", "v1\tn1\n", "unlabeled", NULL, {-2, -2, -2, -2, -1}},
        {"n1\n", "v1\tn1\n", "train", "photos: wnids.txt does not name the class n2", {0}},
        {"n1\nn2\nn1\n", "v1\tn1\n", "train", "photos: wnids.txt names n1 twice", {0}},
        {"n1\nn2\n",
         "v1\tn3\n",
         "test",
         "photos: val_annotations.txt: line 1 names no class of wnids.txt",
         {0}},
        {"n1\nn2\n",
         "v1\n",
         "test",
         "photos: val_annotations.txt: line 1 names no class of wnids.txt",
         {0}},
        {"n1\nn2\n", "v1\tn1\nv1\tn2\n", "test", "photos: val_annotations.txt names v1 twice", {0}},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        struct layout *l = layout_new();
        assert_int_equal(layout_add_text(l, "val/val_annotations.txt", cases[c].annotations), 0);
        assert_int_equal(layout_add_text(l, "wnids.txt", cases[c].wnids), 0);
        for (int i = 0; i < 5; i++)
            assert_int_equal(layout_add_image(l, paths[i]), 0);
        const int result = layout_settle(l, "photos", cases[c].split, false);
        assert_int_equal(result, cases[c].message ? -1 : 0);
        if (cases[c].message)
            assert_string_equal(fail_message(), cases[c].message);
        for (int i = 0; i < 5 && result == 0; i++) {
            int64_t label;
            const enum layout_place place = layout_find(l, paths[i], &label);
            const int expected = cases[c].labels[i];
            assert_int_equal(place, expected == -2   ? LAYOUT_OTHER_PART
                                    : expected == -3 ? LAYOUT_UNLISTED
                                                     : LAYOUT_IN_PART);
            if (place == LAYOUT_IN_PART)
                assert_int_equal(label, expected);
        }
        if (result == 0) {
            int n;
            const char *const *names = layout_class_names(l, &n);
            assert_int_equal(n, 2);
            assert_string_equal(names[0], "n2");
            assert_string_equal(names[1], "n1");
        }
        layout_free(l);
    }
}

static void names_of_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum part part;
    } cases[] = {
        {"ECG200_TRAIN.tsv", PART_TRAIN},
        {"train.csv", PART_TRAIN},
        {"contest-train.csv", PART_TRAIN},
        {"mytest.csv", PART_TEST},
        {"TEST.npy", PART_TEST},
        {"x_val.npy", PART_VALIDATION},
        {"interval.npy", PART_NONE},
        {"data.csv", PART_NONE},
        {"train_test_split.csv", PART_NONE},
        {"images.validation.npy", PART_VALIDATION},
        {"fastesttrain.csv", PART_NONE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (part_of_file(cases[i].name) != cases[i].part)
            fail_msg("%s: %d", cases[i].name, (int)part_of_file(cases[i].name));
}

static void paths(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"./a//b/", "a/b"}, {"/a/./b", "a/b"}, {"a/../b", "b"}, {"a/b/../../c", "c"},
        {".", ""},          {"", ""},          {"../a", "a"},   {"a/..", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[32];
        strcpy(path, cases[i][0]);
        assert_int_equal(path_normalize(path), i != 6);
        assert_string_equal(path, cases[i][1]);
    }
    char *target = tar_link_target("b/x/1.png", "../../a/1.png", true);
    assert_string_equal(target, "a/1.png");
    free(target);
    target = tar_link_target("b/x/1.png", "./a/1.png", false);
    assert_string_equal(target, "a/1.png");
    free(target);
    assert_null(tar_link_target("b/1.png", "../../1.png", true));
    assert_null(tar_link_target("b/1.png", "/a/1.png", true));
}

static void links(void **state)
{
    (void)state;
    static const struct tar_item items[] = {
        {"c", "a", 0}, /* a folder */
        {"a/1.png", NULL, 0},
        {"a/2.png", "b/1.png", 0}, /* a chain */
        {"b/1.png", "a/1.png", 0},
        {"lost.png", "x", 0},
        {"loop.png", "loop.png", 0},
        {"other.png", "a/1.png", 1}, /* of another archive */
        {"a/3.png", NULL, 0},
        {"a/3.png", NULL, 0}, /* the same path again */
        {"all", "", 1},
    };
    static const struct {
        const char *path;
        int64_t source;
    } expected[] = {{"c/1.png", 1}, {"c/2.png", 1}, {"c/3.png", 7}, {"c/3.png", 8}, {"a/1.png", 1},
                    {"a/2.png", 1}, {"b/1.png", 1}, {"a/3.png", 7}, {"a/3.png", 8}};
    struct tar_image *shown;
    int64_t n, lost;
    assert_int_equal(tar_links_follow(items, 10, &shown, &n, &lost), 0);
    assert_int_equal(n, 9);
    assert_int_equal(lost, 4);
    for (int i = 0; i < 9; i++) {
        assert_string_equal(shown[i].path ? shown[i].path : items[shown[i].item].path,
                            expected[i].path);
        assert_int_equal(shown[i].source, expected[i].source);
    }
    tar_links_free(shown, n);
}

static void ignored_things(void **state)
{
    (void)state;
    struct ignored p = {0};
    char text[IGNORED_TEXT];
    ignored_text(&p, text);
    assert_string_equal(text, "");
    ignored_add_file(&p, "a.WebP");
    ignored_add_file(&p, "b.webp");
    ignored_add_file(&p, "Makefile");
    ignored_add_file(&p, "odd.\033[31m");
    ignored_add(&p, "links that lead nowhere", 7);
    ignored_text(&p, text);
    assert_string_equal(text, "7 links that lead nowhere, 2 .webp, 2 other files");
    for (int i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof name, "a.x%d", i);
        ignored_add_file(&p, name);
    }
    ignored_text(&p, text);
    assert_non_null(strstr(text, "2 .webp"));
    assert_non_null(strstr(text, " of other kinds"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts),          cmocka_unit_test(roots), cmocka_unit_test(tiny_imagenet),
        cmocka_unit_test(names_of_files), cmocka_unit_test(paths), cmocka_unit_test(links),
        cmocka_unit_test(ignored_things),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
