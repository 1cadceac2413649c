/* sampler: which images make up the batch of a step, and which rows of it this rank has.
 *
 * Training shuffles the images in each epoch, by a function of seed and epoch, and drops the last
 * batch if it is not full. Evaluation keeps the data's order and drops nothing. The batch of a step
 * depends on the step's number alone, so a run can begin at any step. */
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
    int64_t rank, world; /* this rank and how many there are; 0 and 1: no sharding */
    /* Set by sampler_check() and sampler_init(), as are steps and grains that are 0. */
    int64_t steps_per_epoch;
    int64_t *order; /* of the images (images), in order_epoch; NULL for evaluation */
    int64_t order_epoch;
};

struct batch {
    int64_t step, epoch;
    int64_t rows;   /* of the global batch; fewer than sampler.batch at the end of an evaluation */
    int64_t grains; /* divides rows */
    int64_t first, count; /* this rank's rows: first, first + 1, ... */
    int64_t start;        /* place of row 0 in the epoch */
};

/* Sets the default of grains. Returns -1 with a message if the settings contradict one another:
 * grains that are no power of two or do not divide the batch, or more ranks than a training batch
 * has rows. */
int sampler_check(struct sampler *s);

/* To be called after sampler_check(). Returns -1 with a message if the images do not fill one
 * batch, or a number overflows. Free it with sampler_free() in any case. */
int sampler_init(struct sampler *s);
void sampler_free(struct sampler *s);

/* Gets the batch of a step, 0 <= step < steps. */
void sampler_get(struct sampler *s, int64_t step, struct batch *out);

/* Shortens a batch of an evaluation to `rows` rows, all of which are this rank's; 0 is fine. */
void sampler_shorten(struct batch *batch, int64_t rows);

/* The number of the image at a place in the epoch of the batch that sampler_get() got last,
 * 0 <= place < images. Row r of the global batch is at place start + r. */
int64_t sampler_image(const struct sampler *s, int64_t place);

#endif
