#include "evaluate/logits.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/warn.h"
#include "frame/class_names.h"

/* Warns about the rows of classes that have no logit. */
static void warn_unknown(const struct feature_set *test)
{
    int64_t rows = 0;
    char name[CLASS_NAMES_SHOWN];
    int first = 0;
    for (int64_t i = 0; i < test->n; i++)
        if (test->y[i] >= test->width && rows++ == 0)
            first = (int)test->y[i];
    if (rows)
        warn_line(
            "the classifier does not know the classes of %lld test rows, which count as wrong "
            "(%s ...)",
            (long long)rows, class_names_show(test->names.list[first], name));
}

/* Gives the labels the numbers of the logits of the same names. */
static int match_names(struct feature_set *test, const char *where)
{
    char a[CLASS_NAMES_SHOWN], b[CLASS_NAMES_SHOWN];
    struct class_names all = {0};
    if (!test->names_text)
        return fail("%s names its logits and not its labels, which may mean other classes; "
                    "--match numbers takes label i for logit i",
                    where);
    int *number = calloc((size_t)test->names.n + 1, sizeof *number);
    if (!number)
        return fail("out of memory for %d class names", test->names.n);
    const int common = class_names_unite(&all, &test->logit_names, &test->names, number);
    int bad = common < 0;
    if (common == 0)
        bad = fail("%s: labels and logits have no class in common (%s... and %s...); --match "
                   "numbers ignores the names",
                   where, test->names.n ? class_names_show(test->names.list[0], a) : "",
                   class_names_show(test->logit_names.list[0], b));
    else if (!bad && all.n > FEATURE_SET_MAX_CLASSES)
        bad = fail("%s names %d classes; there may be up to %d", where, all.n,
                   FEATURE_SET_MAX_CLASSES);
    for (int64_t i = 0; i < test->n && !bad; i++)
        test->y[i] = number[test->y[i]];
    free(number);
    if (bad) {
        class_names_free(&all);
        return -1;
    }
    class_names_free(&test->names);
    test->names = all;
    test->classes = all.n;
    warn_unknown(test);
    return 0;
}

int logits_read(struct feature_set *test, const char *endpoint, const struct link_config *links,
                progress_line *progress)
{
    if (feature_set_read(test, endpoint, links, "logits", "test rows", progress))
        return -1;
    if (test->logit_names_text && test->logit_names.n != test->width)
        return fail("%lld logits, where logit_names has %d names", (long long)test->width,
                    test->logit_names.n);
    if (test->logit_names_text && test->width <= FEATURE_SET_MAX_CLASSES)
        return match_names(test, endpoint);
    if (test->width > FEATURE_SET_MAX_CLASSES || test->classes > test->width)
        return fail("%lld logits, where the highest label is %d; there may be up to %d",
                    (long long)test->width, test->classes - 1, FEATURE_SET_MAX_CLASSES);
    if (test->names_text && test->names.n != test->width)
        return fail("%lld logits, where class_names has %d names: the classifier was trained on "
                    "other classes; --match numbers takes label i for logit i",
                    (long long)test->width, test->names.n);
    test->classes = (int)test->width;
    return 0;
}

int logits_classify(const struct feature_set *test, struct prediction *predictions)
{
    const int classes = test->classes;
    double *scores = malloc((size_t)classes * sizeof *scores);
    if (!scores)
        return fail("out of memory for %d logits", classes);
    for (int c = 0; c < classes; c++)
        scores[c] = -INFINITY; /* a class without a logit is never predicted */
    for (int64_t i = 0; i < test->n; i++) {
        for (int64_t c = 0; c < (int)test->width; c++)
            scores[c] = (double)test->x[i * test->width + c];
        predictions[i] = scores_predict(scores, classes, test->y[i]);
    }
    free(scores);
    return 0;
}
