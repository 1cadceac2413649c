/* lars: layer-wise adaptive rate scaling (You, Gitman and Ginsburg 2017, arXiv 1708.03888,
 * algorithm 1), in the form of the official SimCLR code: the learning rate is inside the momentum,
 * and the trust ratio divides by the norm of g', whereas the LARS paper adds the norms of the two
 * parts of g'. For each tensor w with gradient g:
 *
 *     g' = g + weight_decay w
 *     r  = eta |w| / |g'|              trust ratio; 1 where a norm is 0
 *     v  = momentum v + lr r g'
 *     w  = w - v
 *
 * With `clip`, the trust ratio is min(eta |w| / (lr |g'|), 1), so that the rate lr r of the update is
 * eta |w| / |g'|, and at most lr. This is the clipping of LARC (NVIDIA's apex, apex/parallel/LARC.py)
 * and of solo-learn (clip_lars_lr, also clip_lr, in its LARS: `min(lars_lr / lr, 1)`), which divide
 * by |g| + weight_decay |w| in place of |g'|.
 *
 * |.| is the Euclidean norm over the whole tensor. A tensor of one dimension (a bias, batch norm)
 * has no weight decay, and its trust ratio is 1. */
#ifndef LARS_H
#define LARS_H

#include <stdbool.h>
#include <stddef.h>

/* The hyperparameters of the formulas above. */
struct lars {
    double momentum, weight_decay;
    double eta; /* the trust coefficient */
    bool clip;
};

/* Updates one tensor w and its momentum v in place from the gradient g; each has n elements, and v
 * starts as zeros. lr is the learning rate of this step. `adapt` is false for tensors of one
 * dimension. Returns 0; or -1, with w and v unchanged and no message, if the gradient is not
 * finite. */
int lars_step(const struct lars *l, double lr, bool adapt, size_t n, float *w, const float *g,
              float *v);

/* The two halves of lars_step(). lars_measure() sets *rate to lr r, and *squares to the sum of the
 * squares of g, as squares_sum() does; it returns -1 without a message if the gradient is not
 * finite. lars_apply() updates n neighbouring elements of the tensor. */
int lars_measure(const struct lars *l, double lr, bool adapt, size_t n, const float *w,
                 const float *g, double *rate, double *squares);
void lars_apply(const struct lars *l, double rate, bool adapt, size_t n, float *w, const float *g,
                float *v);

#endif
