/* initialize: the values of a network's parameters before training. */
#ifndef INITIALIZE_H
#define INITIALIZE_H

#include <stdint.h>

#include "network/parameters.h"

/* Fills every parameter and buffer according to its `start`. Weights of convolutions come from a
 * normal distribution that is truncated at two standard deviations and scaled so that the variance
 * is 1 / fan-in (arXiv 1502.01852 without its factor 2, as in the official SimCLR code). Those of
 * linear maps come from one with standard deviation 0.01. The values depend on the seed and the
 * parameter's name alone. */
void initialize_parameters(struct parameters *p, uint64_t seed);

#endif
