/* scores: how good predictions are. */
#ifndef SCORES_H
#define SCORES_H

#include <stdint.h>

/* What a classifier says of one row. */
struct verdict {
    int32_t predicted; /* the class that scores highest; of equal ones the lowest */
    int32_t rank;      /* how many classes come before the true one, 0 when it is right */
};

/* The rank of a true class that is out of the question: it is in no top 5. */
#define VERDICT_UNRANKED INT32_MAX

/* From a row's scores of each class; -INFINITY for what is out of the question, such as a class
 * that got no vote or has no training rows. At least one class must be in question. */
struct verdict verdict_of(const double *score, int classes, int64_t label);

struct scores {
    int classes;
    int64_t n;
    double top1, top5; /* fractions of the rows */
    double *per_class; /* [classes] fraction of the class's rows that are right; NaN without rows */
    double mean_class; /* the mean of per_class over the classes that have rows */
    int64_t *confusion; /* [classes,classes]: the true class's row, the predicted class's column */
};

/* n > 0 verdicts for rows with labels y, all below classes. -1: out of memory. */
int scores_make(struct scores *s, const struct verdict *v, const int64_t *y, int64_t n,
                int classes);
void scores_free(struct scores *s);

#endif
