/* score_report: an evaluation's result as one JSON object (docs/evaluation.md lists the keys). */
#ifndef SCORE_REPORT_H
#define SCORE_REPORT_H

#include <stdio.h>

#include "evaluate/bootstrap.h"
#include "evaluate/probe.h"
#include "evaluate/scores.h"
#include "frame/class_names.h"

/* The contents of a report. The caller owns everything that it points to. */
struct score_report {
    const char *method, *on;   /* "knn"; the tensor that the features come from, "h" */
    int64_t n_train;           /* training rows; 0 if there is no training set */
    const struct probe *probe; /* settings of a linear probe, else NULL */
    int64_t k;                 /* settings of nearest neighbours: k, or 0 for another method, */
    double temperature;        /* and the temperature */
    const struct class_names *names; /* written unless empty */
    const struct scores *scores;
    int64_t samples; /* bootstrap samples; 0 if there are no intervals */
    double confidence;
    struct intervals intervals;
};

/* Writes the object and a newline; numbers have 9 significant digits. Returns -1 with a message if
 * memory is out. Errors of `file` show in ferror(). */
int score_report_write(const struct score_report *r, FILE *file);

#endif
