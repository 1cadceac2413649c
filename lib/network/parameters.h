/* parameters: the named tensors of a network, under torchvision's names.
 *
 * A parameter is learned and has a gradient; a buffer (running_mean, running_var,
 * num_batches_tracked) is kept up by batch normalization and has none. */
#ifndef PARAMETERS_H
#define PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

enum { PARAMETER_MAX_DIMS = 4 };

struct parameter {
    char *name;       /* "layer1.0.conv1.weight" */
    enum dtype dtype; /* DTYPE_F32; DTYPE_I64 for num_batches_tracked */
    int ndim;         /* 0: a scalar */
    int64_t shape[PARAMETER_MAX_DIMS];
    size_t count; /* elements */
    void *value;  /* float or int64_t (count) */
    float *grad;  /* (count); NULL for a buffer */
    bool buffer;
    bool frozen; /* keeps its value: it gets no gradient (plan_freeze()) */
    bool shared; /* the gradient is over all workers already, and the same in each */
    enum parameter_start {
        START_ZERO,
        START_ONE,
        START_FAN_IN, /* truncated normal of variance 1 / fan-in */
        START_NORMAL  /* normal of deviation 0.01 */
    } start;          /* how initialize_parameters() fills it */
};

struct parameters {
    struct parameter *list; /* in the order of the network's operations */
    int n;
};

/* Adds a tensor filled with zeros; the name is copied. Returns its index, or -1 with a message
 * when the size overflows or memory is out. */
int parameters_add(struct parameters *p, const char *name, enum dtype dtype, int ndim,
                   const int64_t *shape, bool buffer, enum parameter_start start);
void parameters_clear(struct parameters *p); /* frees what p points to, not p */

/* The index of that name, or -1 (no message). */
int parameters_find(const struct parameters *p, const char *name);

/* Whether a name begins with the same first part ("layer1" of "layer1.0.conv1.weight") as one of
 * the parameters' names, so that it should be one of them. */
bool parameters_claim(const struct parameters *p, const char *name);

/* Copies values out of f's tensors by name; a parameter that f lacks keeps its value. Shape and
 * dtype must match, but BF16 may stand for F32 and is widened. Tensors that are no parameter's are
 * ignored. On failure (-1, `where` opens the message) nothing was changed. */
int parameters_load(struct parameters *p, const struct frame *f, const char *where);

#endif
