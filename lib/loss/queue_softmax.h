/* queue_softmax: the rows of a queue as further negatives of a batch's rows, in a softmax over each
 * row's similarities s_iq = u_i.k_q / T. It finds, for each row i,
 *
 *     most_i   the largest u_i.k_q
 *     sum_i    sum over q of e^(s_iq - shift_i / T)
 *     sums_i   sum over q of e^(s_iq - shift_i / T) k_q, to which the gradient is proportional
 *
 * in one visit to all pairs, or in two if exponentials have to be relative to each row's largest
 * similarity. A thread has whole rows of the batch, and goes through the queue in its order, so
 * results do not depend on the number of threads, nor on how the rows are divided among them. */
#ifndef QUEUE_SOFTMAX_H
#define QUEUE_SOFTMAX_H

#include "loss/similarity.h"

struct queue_softmax {
    struct similarity_others others;
    struct similarity_matrix sums; /* (n, d), a matrix like u of struct similarity */
    float *most;                   /* (n) -infinity if the queue is empty */
    double *sum;                   /* (n) */
    unsigned char *memory;         /* holds all but the others */
};

/* Makes room for a queue of `rows` rows, which may be 0, beside the batch of p. Needs O((n + rows)
 * d) memory. Returns 0, or -1 with a message. The caller must call queue_softmax_close() in any
 * case, on a q that is all zeros or that was opened. */
int queue_softmax_open(struct queue_softmax *q, const struct similarity *p, int64_t rows);
void queue_softmax_close(struct queue_softmax *q);

/* Finds most. For a team, as are all below; similarity_load() and similarity_others_load() come
 * first. */
void queue_softmax_find_most(struct queue_softmax *q, struct similarity *p);
/* Finds all three. `scale` is log2(e) / T. The shifts are (n), or NULL for 0. */
void queue_softmax_find_sums(struct queue_softmax *q, struct similarity *p, float scale,
                             const float *shift);

#endif
