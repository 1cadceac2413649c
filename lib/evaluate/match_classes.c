#include "evaluate/match_classes.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/warn.h"

enum {
    LISTED = 8,     /* classes that a warning lists */
    LIST_SIZE = 512 /* bytes, enough for LISTED names of CLASS_NAMES_SHOWN bytes each */
};

static int fail_disjoint(const struct feature_set *train, const char *train_name,
                         const struct feature_set *test, const char *test_name)
{
    char a[CLASS_NAMES_SHOWN], b[CLASS_NAMES_SHOWN];
    return fail("%s and %s have no class in common (%s... and %s...); --match numbers ignores the "
                "names",
                train_name, test_name,
                train->names.n ? class_names_show(train->names.list[0], a) : "",
                test->names.n ? class_names_show(test->names.list[0], b) : "");
}

int match_classes(struct feature_set *train, const char *train_name, struct feature_set *test,
                  const char *test_name, struct class_names *names)
{
    if (!train->names_text && !test->names_text)
        return 0;
    if (!train->names_text || !test->names_text)
        return fail("%s has class names and %s has none, so their labels may mean different "
                    "classes; --match numbers takes them as they are",
                    train->names_text ? train_name : test_name,
                    train->names_text ? test_name : train_name);
    int *number = calloc((size_t)test->names.n + 1, sizeof *number);
    if (!number)
        return fail("out of memory for %d class names", test->names.n);
    const int common = class_names_unite(names, &train->names, &test->names, number);
    int bad = common < 0;
    if (common == 0)
        bad = fail_disjoint(train, train_name, test, test_name);
    else if (!bad && names->n > FEATURE_SET_MAX_CLASSES)
        bad = fail("%s and %s name %d classes; there may be up to %d", train_name, test_name,
                   names->n, FEATURE_SET_MAX_CLASSES);
    for (int64_t i = 0; i < test->n && !bad; i++)
        test->y[i] = test->y[i] < 0 ? -1 : number[test->y[i]];
    if (!bad)
        train->classes = test->classes = names->n;
    free(number);
    return bad ? -1 : 0;
}

/* Writes the first LISTED marked classes and how many more there are. */
static void list_classes(const bool *marked, int classes, const struct class_names *names,
                         char text[LIST_SIZE])
{
    size_t length = 0;
    int n = 0;
    *text = 0;
    for (int c = 0; c < classes; c++) {
        char name[CLASS_NAMES_SHOWN];
        if (!marked[c] || n++ >= LISTED)
            continue;
        if (names->n)
            class_names_show(names->list[c], name);
        else
            snprintf(name, sizeof name, "%d", c);
        length +=
            (size_t)snprintf(text + length, LIST_SIZE - length, "%s%s", length ? ", " : "", name);
    }
    if (n > LISTED)
        snprintf(text + length, LIST_SIZE - length, " and %d more", n - LISTED);
}

/* Returns how many classes have rows in `f` but none in `other`, or -1 with a message. Sets *rows
 * to the number of rows of these classes, and writes the first few of the classes to `text`. */
static int find_unmatched(const struct feature_set *f, const struct feature_set *other, int classes,
                          const struct class_names *names, int64_t *rows, char text[LIST_SIZE])
{
    bool *present = calloc((size_t)classes, sizeof *present);
    bool *unmatched = calloc((size_t)classes, sizeof *unmatched);
    int n = 0;
    *rows = 0;
    if (!present || !unmatched) {
        free(present);
        free(unmatched);
        return fail("out of memory for %d classes", classes);
    }
    for (int64_t i = 0; i < other->n; i++)
        present[other->y[i]] = true;
    for (int64_t i = 0; i < f->n; i++) {
        const int64_t label = f->y[i];
        *rows += !present[label];
        n += !present[label] && !unmatched[label];
        unmatched[label] = !present[label];
    }
    list_classes(unmatched, classes, names, text);
    free(present);
    free(unmatched);
    return n;
}

int match_classes_warn(const struct feature_set *train, const struct feature_set *test, int classes,
                       const struct class_names *names)
{
    char text[LIST_SIZE];
    int64_t rows;
    int n = find_unmatched(train, test, classes, names, &rows, text);
    if (n > 0)
        warn_line("classes without test rows: %d: %s", n, text);
    if (n >= 0)
        n = find_unmatched(test, train, classes, names, &rows, text);
    if (n > 0)
        warn_line("classes without training rows: %d, whose %lld test rows count as wrong: %s", n,
                  (long long)rows, text);
    return n < 0 ? -1 : 0;
}
