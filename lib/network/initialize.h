/* initialize: what a network's parameters are before training. */
#ifndef INITIALIZE_H
#define INITIALIZE_H

#include <stdint.h>

#include "network/parameters.h"

/* Fills every parameter and buffer by its `start`. Convolutions: a normal distribution cut at two
 * deviations, scaled so that the variance is 1 / fan-in (arXiv 1502.01852 without its factor 2, as
 * the official SimCLR code has it). Linear maps: a normal one of deviation 0.01. What is drawn
 * depends on the seed and the parameter's name alone. */
void initialize_parameters(struct parameters *p, uint64_t seed);

#endif
