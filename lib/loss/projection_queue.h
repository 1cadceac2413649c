/* projection_queue: the projections of the last batches, which a loss keeps as further negatives
 * (MoCo, arXiv 1911.05722, section 3.2).
 *
 * It is a ring: row number r, counted from 0 in the order in which rows were put in, is at place
 * r modulo `size`, so that a new row replaces the oldest. Places that were never filled hold zeros.
 * The rows come in the order of z, so the two views of an image are neighbours. */
#ifndef PROJECTION_QUEUE_H
#define PROJECTION_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

/* A queue. The caller makes the array, (size, d) zeros, and owns it. */
struct projection_queue {
    float *rows; /* (size, d), row-major */
    int64_t size, d;
    int64_t pushed; /* rows put in so far */
};

/* Returns the number of rows that the queue holds: the first ones of its array. */
static inline int64_t projection_queue_count(const struct projection_queue *q)
{
    return q->pushed < q->size ? q->pushed : q->size;
}

/* Puts the n rows of z (n, d) in, divided by their lengths if `normalize` is set. If n is above
 * `size`, the last ones remain. */
void projection_queue_push(struct projection_queue *q, const float *z, int64_t n, bool normalize);

/* Checks a queue that was read from a file or a peer. With `normalize` no row may be longer than 1.
 * Returns 0, or -1 with a message. */
int projection_queue_check(const struct projection_queue *q, bool normalize);

#endif
