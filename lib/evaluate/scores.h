/* scores: how good a classifier's predictions are. */
#ifndef SCORES_H
#define SCORES_H

#include <stdint.h>

/* A classifier's prediction for one row. */
struct prediction {
    int32_t label; /* the class of the highest score; the lowest class among equal scores */
    int32_t rank;  /* the true class's place in the order of scores: 0 if the prediction is right */
};

/* The rank of a true class that cannot be predicted. It is in no top 5. */
#define SCORES_UNRANKED INT32_MAX

/* Returns the prediction for a row whose true class is `label`, from its scores [classes]. A score
 * of -INFINITY marks a class that cannot be predicted, such as one without a vote or without
 * training rows; at least one score must be finite. */
struct prediction scores_predict(const double *score, int classes, int64_t label);

struct scores {
    int classes;
    int64_t n;          /* rows */
    double top1, top5;  /* fractions of the rows */
    double *per_class;  /* [classes] fraction of the class's rows; NaN for a class without rows */
    double mean_class;  /* mean of per_class over the classes that have rows */
    int64_t *confusion; /* [classes,classes]: rows are true classes, columns predicted ones */
};

/* Scores n > 0 predictions [n] for rows with true labels y [n], all below `classes`. The caller
 * frees *s with scores_free(). Returns -1 with a message if memory is out. */
int scores_make(struct scores *s, const struct prediction *predictions, const int64_t *y, int64_t n,
                int classes);
void scores_free(struct scores *s); /* leaves {0} */

#endif
