/* schedule: the learning rate of a step: linear warm-up, then a cosine to zero (paper, section 2.2
 * and appendix B.6). With s the step, W the steps of the warm-up, S all steps and B the batch:
 *
 *     peak = lr                                            if it is given
 *          = base_lr B / 256                               linear scaling (paper, section 2.2)
 *          = base_lr sqrt(B)                               square root scaling (appendix B.1)
 *
 *     rate = peak s / W                                    s < W: warm-up
 *          = peak (1 + cos(pi (s - W) / (S - W))) / 2      s >= W: cosine decay (Loshchilov and
 *                                                          Hutter 2016, arXiv 1608.03983,
 *                                                          equation 5), without restarts
 *          = peak                                          s >= W, if `constant` */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* The settings of a schedule. */
struct schedule {
    double lr;            /* the peak rate; if negative, it follows from base_lr and the batch */
    double base_lr;       /* if negative, 0.3 for linear, 0.075 for square root scaling (lars) */
    bool sqrt_scaling;    /* base_lr x sqrt(batch); otherwise base_lr x batch / 256 */
    double warmup_epochs; /* used if warmup_steps is negative; W is rounded down to whole steps */
    int64_t warmup_steps; /* if negative, it follows from warmup_epochs */
    bool constant;        /* the rate stays at its peak after the warm-up */
};

/* The position in the training run, which the requests' metadata give. */
struct schedule_point {
    int64_t step;            /* counted from 0 */
    int64_t steps;           /* of the whole run */
    int64_t steps_per_epoch; /* these three are at least 1 */
    int64_t batch;           /* images over all workers */
};

/* Returns the learning rate of a step. If there is a warm-up, step 0 has rate 0, as in the official
 * code. */
double schedule_rate(const struct schedule *s, const struct schedule_point *at);

#endif
