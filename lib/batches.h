/* batches: which images make up which training step, and which of them this rank has.
 *
 * Training shuffles afresh each epoch (a function of seed and epoch) and drops the last partial
 * batch. Evaluation keeps the data's order and drops nothing. A step's batch depends on its number
 * alone, so a run can begin anywhere. */
#ifndef BATCHES_H
#define BATCHES_H

#include <stdbool.h>
#include <stdint.h>

struct batches {
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
    /* Set by batches_check() and batches_init(), as are steps and grains that are 0. */
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
int batches_check(struct batches *b);

/* After batches_check(). -1 with a message if no whole batch can be made of the images, or a number
 * overflows. Free with batches_free() in any case. */
int batches_init(struct batches *b);
void batches_free(struct batches *b);

/* The batch of a step, 0 <= step < steps. */
void batches_get(struct batches *b, int64_t step, struct batch *out);

/* Makes an evaluation's batch one of so few rows, all of them this rank's; 0 as well. */
void batches_shorten(struct batch *batch, int64_t rows);

/* Number of the image at a place of the epoch of the batch that was got last, 0 <= place < images:
 * row r of the global batch is at start + r. */
int64_t batches_image(const struct batches *b, int64_t place);

#endif
