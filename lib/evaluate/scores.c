#include "evaluate/scores.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"

struct prediction scores_predict(const double *score, int classes, int64_t label)
{
    struct prediction p = {0};
    for (int c = 0; c < classes; c++) {
        if (score[c] > score[p.label])
            p.label = c;
        p.rank += score[c] > score[label] || (score[c] == score[label] && c < label);
    }
    if (!(score[label] > -INFINITY))
        p.rank = SCORES_UNRANKED;
    return p;
}

int scores_make(struct scores *s, const struct prediction *predictions, const int64_t *y, int64_t n,
                int classes)
{
    size_t k = (size_t)classes;
    *s = (struct scores){.classes = classes, .n = n};
    s->per_class = malloc(k * sizeof *s->per_class);
    s->confusion = calloc(k * k, sizeof *s->confusion);
    if (!s->per_class || !s->confusion) {
        scores_free(s);
        return fail("out of memory for the scores of %d classes", classes);
    }
    int64_t right = 0, near = 0;
    for (int64_t i = 0; i < n; i++) {
        right += predictions[i].rank == 0;
        near += predictions[i].rank < 5;
        s->confusion[y[i] * classes + predictions[i].label]++;
    }
    s->top1 = (double)right / (double)n;
    s->top5 = (double)near / (double)n;

    int seen = 0;
    for (int c = 0; c < classes; c++) {
        int64_t rows = 0;
        for (int p = 0; p < classes; p++)
            rows += s->confusion[c * (int64_t)classes + p];
        s->per_class[c] = NAN;
        if (rows) {
            s->per_class[c] = (double)s->confusion[c * (int64_t)classes + c] / (double)rows;
            s->mean_class += s->per_class[c];
            seen++;
        }
    }
    s->mean_class /= seen;
    return 0;
}

void scores_free(struct scores *s)
{
    free(s->per_class);
    free(s->confusion);
    *s = (struct scores){0};
}
