/* loss_types: what every loss function takes and what it returns.
 *
 * A loss is a function
 *
 *     int NAME(const struct loss_input *in, ..., float *dz, struct loss_metrics *metrics);
 *
 * that writes the gradient of its mean over the batch to dz, of z's shape (n, d), and fills
 * *metrics. It returns 0, or -1 with a message (fail.h). Its results must not depend on the number
 * of threads by a single bit. program/loss.h makes a program of it. */
#ifndef LOSS_TYPES_H
#define LOSS_TYPES_H

#include <stdbool.h>
#include <stdint.h>

struct gemm_kernel;

/* A batch of projections. Row i is one view of an image; the rows of an image are neighbours. The
 * caller owns all arrays, and they must stay unchanged during the call. */
struct loss_input {
    const float *z; /* (n, d) projections, row-major */
    int64_t n, d;   /* rows, which are images x views, and the width of a row */
    int64_t views;  /* of each image: 2 for SimCLR; a loss that needs 2 does not look at it */
    const int64_t
        *labels;    /* (n / views), -1 for an image without one; NULL if the loss takes none */
    bool normalize; /* compare rows by cosines: u = z / |z|; otherwise u = z */
    int threads;
    const struct gemm_kernel *product; /* of floats (engine/gemm_kernel.h); NULL chooses the
                                          fastest that this machine has */
};

/* What a loss reports about a batch. */
struct loss_metrics {
    double loss;     /* in nats, where it is a logarithm */
    double accuracy; /* share of the rows whose most similar row is strictly a positive; NAN for a
                        loss that does not measure it */
    double entropy;  /* mean over rows of the softmax's entropy over the other rows, in nats; NAN
                        for a loss without a softmax */
};

#endif
