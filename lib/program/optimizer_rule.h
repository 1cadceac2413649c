/* optimizer_rule: the part that each optimizer program provides: how a parameter changes in a step.
 */
#ifndef OPTIMIZER_RULE_H
#define OPTIMIZER_RULE_H

#include <stddef.h>
#include <stdint.h>

struct option_spec;

enum { OPTIMIZER_SLOTS = 4 }; /* the most slots that a rule may have */

/* An optimizer's update rule. */
struct optimizer_rule {
    const char *name; /* "lars"; written into the state, which only this optimizer can resume */
    int n_slots;      /* tensors of state for each parameter, of its shape; they start as zeros */
    const char *slots[OPTIMIZER_SLOTS]; /* their names: "momentum" is stored as momentum/NAME */
    const void *hyper;                  /* the hyperparameters, passed to update */
    const struct option_spec *options;  /* the program's own flags; their values are written into
                                           the state, and a resumed run must have the same. NULL:
                                           there are none */
    /* Updates a parameter w and its slots in place from its gradient g; each has n elements. lr is
     * the learning rate of this step, and `step` counts from 0. ndim is the number of dimensions of
     * the tensor, which is 1 for biases and batch norm. Returns -1 without a message, and changes
     * nothing, if the gradient is not finite. */
    int (*update)(const void *hyper, double lr, int64_t step, int ndim, size_t n, float *w,
                  const float *g, float *const *slots);
    /* The same in two halves, which an optimizer uses instead if there are both. measure() looks at
     * the whole tensor: it sets *rate, which depends on the rule, and *squares to squares_sum(g), or
     * returns -1 as update() does. apply() updates n neighbouring elements. The caller may change
     * their gradients from then on, so new values can be written over them while both are in the
     * caches. */
    int (*measure)(const void *hyper, double lr, int ndim, size_t n, const float *w, const float *g,
                   double *rate, double *squares);
    void (*apply)(const void *hyper, double rate, int ndim, size_t n, float *w, const float *g,
                  float *const *slots);
};

#endif
