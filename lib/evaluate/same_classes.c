#include "evaluate/same_classes.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fail.h"

enum { LISTED = 8 };

static int refuse_strangers(const struct feature_set *train, const char *train_name,
                            const struct feature_set *test, const char *test_name)
{
    char a[CLASS_NAMES_SHOWN], b[CLASS_NAMES_SHOWN];
    return fail("%s and %s have no class in common (%s... and %s...); --match numbers ignores the "
                "names",
                train_name, test_name,
                train->names.n ? class_names_show(train->names.list[0], a) : "",
                test->names.n ? class_names_show(test->names.list[0], b) : "");
}

int same_classes(struct feature_set *train, const char *train_name, struct feature_set *test,
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
        bad = refuse_strangers(train, train_name, test, test_name);
    else if (!bad && names->n > FEATURE_SET_MAX_CLASSES)
        bad = fail("%s and %s name %d classes; there may be up to %d", train_name, test_name,
                   names->n, FEATURE_SET_MAX_CLASSES);
    for (int64_t i = 0; i < test->n && !bad; i++)
        test->y[i] = number[test->y[i]];
    if (!bad)
        train->classes = test->classes = names->n;
    free(number);
    return bad ? -1 : 0;
}

static void list_classes(const bool *marked, int classes, const struct class_names *names,
                         char text[SAME_CLASSES_TEXT])
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
        length += (size_t)snprintf(text + length, SAME_CLASSES_TEXT - length, "%s%s",
                                   length ? ", " : "", name);
    }
    if (n > LISTED)
        snprintf(text + length, SAME_CLASSES_TEXT - length, " and %d more", n - LISTED);
}

int same_classes_alone(const struct feature_set *f, const struct feature_set *other, int classes,
                       const struct class_names *names, int64_t *rows, char text[SAME_CLASSES_TEXT])
{
    bool *has = calloc((size_t)classes, sizeof *has), *alone = calloc((size_t)classes, 1);
    int n = 0;
    *rows = 0;
    if (!has || !alone) {
        free(has);
        free(alone);
        return fail("out of memory for %d classes", classes);
    }
    for (int64_t i = 0; i < other->n; i++)
        has[other->y[i]] = true;
    for (int64_t i = 0; i < f->n; i++) {
        *rows += !has[f->y[i]];
        n += !has[f->y[i]] && !alone[f->y[i]];
        alone[f->y[i]] = !has[f->y[i]];
    }
    list_classes(alone, classes, names, text);
    free(has);
    free(alone);
    return n;
}
