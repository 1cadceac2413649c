/* sampler: chooses the images of each step's batch, and the rows of the batch that this rank reads.
 *
 * Training shuffles the images in each epoch, by a function of seed and epoch, and drops the last
 * batch if it is not full. Evaluation keeps the data's order and drops nothing. The batch of a step
 * depends on the step's number alone, so a run can begin at any step. */
#ifndef SAMPLER_H
#define SAMPLER_H

#include <stdbool.h>
#include <stdint.h>

struct sampler {
    /* The caller fills these in. */
    int64_t images;        /* number of images in the data set, or of those chosen from it */
    const int64_t *chosen; /* their numbers (images), the caller's; NULL: 0 to images - 1 */
    int64_t batch;         /* images in a global batch */
    int64_t epochs;
    int64_t steps;  /* number of steps; 0: epochs decide */
    int64_t grains; /* 0: the largest power of two up to 8 that divides the batch */
    bool evaluation;
    uint64_t seed;
    int64_t rank, world; /* this rank and the number of ranks; 0 and 1: no sharding */
    /* sampler_check() and sampler_init() set these, and also steps and grains where they are 0. */
    int64_t steps_per_epoch;
    int64_t *order; /* order of the images (images) in order_epoch; NULL for evaluation */
    int64_t order_epoch;
};

struct batch {
    int64_t step, epoch;
    int64_t rows;         /* of the global batch; an evaluation's last one may have fewer */
    int64_t grains;       /* divides rows */
    int64_t first, count; /* this rank's rows: first, first + 1, ... */
    int64_t start;        /* place of row 0 in the epoch */
};

/* Sets the default of grains. Returns -1 with a message if the settings contradict one another: if
 * grains is not a power of two or does not divide the batch, or if there are more ranks than rows
 * in a training batch. */
int sampler_check(struct sampler *s);

/* Prepares the sampler. Call it after sampler_check(). Returns -1 with a message if the images do
 * not fill one batch, or a number overflows. The caller calls sampler_free() in any case. */
int sampler_init(struct sampler *s);
void sampler_free(struct sampler *s);

/* Gets the batch of a step, 0 <= step < steps. */
void sampler_get(struct sampler *s, int64_t step, struct batch *out);

/* Shortens a batch of an evaluation to `rows` rows, all of which are this rank's; 0 is fine. */
void sampler_shorten(struct batch *batch, int64_t rows);

/* Returns the number of the image at a place in the epoch of the batch that sampler_get() returned
 * last, 0 <= place < images. Row r of the global batch is at place start + r. */
int64_t sampler_image(const struct sampler *s, int64_t place);

#endif
