/* sampler: which images make up which training step, and which of them this rank has.
 *
 * Training shuffles afresh each epoch (a function of seed and epoch) and drops the last partial
 * batch. Evaluation keeps the data's order and drops nothing. A step's batch depends on its number
 * alone, so a run can begin anywhere. */
#ifndef SAMPLER_H
#define SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

struct sampler {
    /* Filled by the caller. */
    int64_t images;        /* in the data set, or chosen from it */
    const int64_t *chosen; /* their numbers (images), the caller's; NULL: 0 to images - 1 */
    int64_t batch;         /* images in a global batch */
    int64_t epochs;
    int64_t steps;  /* 0: epochs decide */
    int64_t grains; /* 0: the largest power of two up to 8 that divides the batch */
    bool evaluation;
    uint64_t seed;
    int64_t rank, world; /* 0, 1: no sharding */
    /* Set by sampler_check() and sampler_init(), as are steps and grains that are 0. */
    int64_t steps_per_epoch;
    int64_t *order; /* of the images, in order_epoch; NULL for evaluation */
    int64_t order_epoch;
};

struct batch {
    int64_t step, epoch;
    int64_t rows;         /* of the global batch; fewer than batch at the end of an evaluation */
    int64_t grains;       /* divides rows */
    int64_t first, count; /* this rank's rows: first, first + 1, ... */
    int64_t start;        /* place of its first row in the epoch */
};

/* Sets the default of grains. -1 with a message if the settings contradict one another: grains that
 * are no power of two or do not divide the batch, a world larger than a training batch. */
int sampler_check(struct sampler *s);

/* After sampler_check(). -1 with a message if no whole batch can be made of the images, or a number
 * overflows. Free with sampler_free() in any case. */
int sampler_init(struct sampler *s);
void sampler_free(struct sampler *s);

/* The batch of a step, 0 <= step < steps. */
void sampler_get(struct sampler *s, int64_t step, struct batch *out);

/* Makes an evaluation's batch one of so few rows, all of them this rank's; 0 as well. */
void sampler_shorten(struct batch *batch, int64_t rows);

/* Number of the image at a place of the epoch of the batch that was got last, 0 <= place < images:
 * row r of the global batch is at start + r. */
int64_t sampler_image(const struct sampler *s, int64_t place);

#endif
