#include "evaluate/logits.h"

#include <stdlib.h>

#include "base/fail.h"

int logits_read(struct feature_set *test, const char *endpoint, const struct link_config *links,
                progress_line *progress)
{
    if (feature_set_read(test, endpoint, links, "logits", "test rows", progress))
        return -1;
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
    const int64_t classes = test->width;
    double *scores = malloc((size_t)classes * sizeof *scores);
    if (!scores)
        return fail("out of memory for %lld logits", (long long)classes);
    for (int64_t i = 0; i < test->n; i++) {
        for (int64_t c = 0; c < classes; c++)
            scores[c] = (double)test->x[i * classes + c];
        predictions[i] = scores_predict(scores, (int)classes, test->y[i]);
    }
    free(scores);
    return 0;
}
