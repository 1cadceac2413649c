/* loss_types: the input and the output of every loss function.
 *
 * A loss is a function
 *
 *     int NAME(const struct loss_input *in, ..., float *dz, struct loss_metrics *metrics);
 *
 * that writes the gradient of its mean over the batch to dz, of z's shape (n, d), and fills
 * *metrics. It returns 0, or -1 with a message (fail.h). Its results must not change by a single
 * bit with the number of threads. program/loss.h turns it into a program. */
#ifndef LOSS_TYPES_H
#define LOSS_TYPES_H

#include <stdbool.h>
#include <stdint.h>

struct gemm_kernel;

/* A batch of projections. Row i is one view of an image, and the views of an image are adjacent
 * rows. The caller owns all arrays and must not change them during the call. */
struct loss_input {
    const float *z;        /* (n, d) projections, row-major */
    const float *target;   /* (n, d) projections of the same views by a momentum encoder, without
                              gradient; NULL if the loss uses none or there are none */
    int64_t n, d;          /* number of rows (images x views), and the width of a row */
    int64_t views;         /* views of each image, 2 for SimCLR; losses that need 2 ignore it */
    const int64_t *labels; /* (n / views), -1 for an unlabelled image; NULL if the loss uses none */
    bool normalize;        /* compare rows by cosines: u = z / |z|; otherwise u = z */
    int threads;
    const struct gemm_kernel *product; /* of floats (engine/gemm_kernel.h); NULL chooses the
                                          fastest that this machine has */
};

/* The values that a loss reports about a batch. */
struct loss_metrics {
    double loss;     /* in nats, where it is a logarithm */
    double accuracy; /* share of the rows whose most similar row is strictly a positive; NAN for a
                        loss that does not measure it */
    double entropy;  /* mean over rows of the softmax's entropy over the other rows, in nats; NAN
                        for a loss without a softmax */
};

/* Returns how many of `threads` threads a batch of n rows of d values should have: one for each 2^26
 * multiplications of its similarities, which take a core about 2 ms. A thread that slept since the
 * last batch takes up to tens of milliseconds until it runs where other programs use the cores. */
static inline int loss_threads(int threads, int64_t n, int64_t d)
{
    const double busy = 1 + (double)n * (double)n * (double)d * 0x1p-26;
    return busy < threads ? (int)busy : threads;
}

#endif
