/* parameters: the named tensors of a network, under torchvision's names.
 *
 * A parameter is learned and has a gradient. A buffer (running_mean, running_var,
 * num_batches_tracked) is updated by batch normalization and has none. Both are in host memory,
 * whatever the engine. */
#ifndef PARAMETERS_H
#define PARAMETERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PARAMETER_MAX_DIMS = 4 };

enum parameter_type {
    PARAMETER_FLOAT,  /* float */
    PARAMETER_INTEGER /* int64_t: num_batches_tracked */
};

/* How initialize_parameters() fills a tensor. */
enum parameter_start {
    START_ZERO,
    START_ONE,
    START_FAN_IN, /* truncated normal distribution of variance 1 / fan-in */
    START_NORMAL  /* normal distribution with standard deviation 0.01 */
};

struct parameter {
    char *name; /* "layer1.0.conv1.weight" */
    enum parameter_type type;
    int ndim; /* 0: a scalar */
    int64_t shape[PARAMETER_MAX_DIMS];
    size_t count; /* number of values */
    void *value;  /* the values (count), in the tensor's type */
    float *grad;  /* (count); NULL for a buffer */
    bool buffer;
    bool frozen; /* it keeps its value and has no gradient (plan_freeze()) */
    bool shared; /* the gradient is already the sum over all workers, and is the same in each */
    enum parameter_start start;
};

struct parameters {
    struct parameter *list; /* in the order of the network's operations */
    int n;
    int64_t room; /* the module's own: entries that list has room for */
};

/* Returns the number of bytes of p's values. */
size_t parameters_bytes(const struct parameter *p);

/* Adds a tensor filled with zeros; the name is copied. Returns its index, or -1 with a message if
 * its size overflows or memory is out. */
int parameters_add(struct parameters *p, const char *name, enum parameter_type type, int ndim,
                   const int64_t *shape, bool buffer, enum parameter_start start);

/* Frees everything in p, but not p itself, which is then empty. */
void parameters_clear(struct parameters *p);

/* Returns the index of the tensor of this name, or -1 (no message). */
int parameters_find(const struct parameters *p, const char *name);

/* Returns true if the first part of this name ("layer1" in "layer1.0.conv1.weight") is also that of
 * one of the tensors. A tensor of this name should therefore be one of them. */
bool parameters_claim(const struct parameters *p, const char *name);

#endif
