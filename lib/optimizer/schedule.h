/* schedule: the learning rate of a step: linear warm-up, then cosine to zero (paper, section 2.2
 * and appendix B.6; the rates of equations in appendix B.1). */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

struct schedule {
    double lr;            /* peak rate; negative: from base_lr and the batch */
    double base_lr;       /* negative: 0.3 for linear scaling, 0.075 for sqrt */
    bool sqrt_scaling;    /* base_lr x sqrt(batch), else base_lr x batch / 256 */
    double warmup_epochs; /* used if warmup_steps is negative */
    int64_t warmup_steps;
    bool constant; /* no decay after the warm-up */
};

/* Where training stands; as the frames tell it. */
struct progress_point {
    int64_t step, steps, steps_per_epoch, batch; /* batch: images over all workers */
};

/* The rate of a step; the first one, number 0, has rate 0 if there is a warm-up, as in the official
 * code. */
double schedule_rate(const struct schedule *s, const struct progress_point *at);

#endif
