/* optimizer_rule: what an optimizer program brings: how a parameter changes in a step. */
#ifndef OPTIMIZER_RULE_H
#define OPTIMIZER_RULE_H

#include <stddef.h>
#include <stdint.h>

struct option_spec;

enum { OPTIMIZER_SLOTS = 4 }; /* the most slots that a rule may have */

struct optimizer_rule {
    const char *name; /* "lars": written into the state, which no other optimizer takes then */
    int n_slots;      /* tensors of state for each parameter, of its shape; they start as zeros */
    const char *slots[OPTIMIZER_SLOTS]; /* their names: "momentum" is stored as momentum/NAME */
    const void *hyper;                  /* the hyperparameters, handed to update */
    const struct option_spec *options;  /* the program's own flags; their values are written into
                                           the state, and a resumed run must have the same. NULL:
                                           there are none */
    /* Updates a parameter w and its slots in place from its gradient g; each has n elements. lr is
     * the learning rate of this step, `step` is counted from 0, and ndim is the number of the
     * tensor's dimensions: 1 for biases and batch norm. Returns -1 without a message if the
     * gradient is not finite; nothing is changed then. */
    int (*update)(const void *hyper, double lr, int64_t step, int ndim, size_t n, float *w,
                  const float *g, float *const *slots);
};

#endif
