/* parameter_name: what the name of a parameter or buffer says about how it is optimized. */
#ifndef PARAMETER_NAME_H
#define PARAMETER_NAME_H

#include <stdbool.h>

/* Whether the tensor is a buffer, which is stored and never optimized: *.running_mean,
 * *.running_var and *.num_batches_tracked. A step is complete without it. */
bool parameter_name_is_buffer(const char *name);

/* Whether a tensor is frozen, given the metadata `frozen` of the join that it came with (NULL: none
 * is). That is a list such as "conv1,bn1,layer1" of whole names, or of the beginnings of names up
 * to a '.'. A frozen tensor is stored like the others, but clients send no gradient or value of it.
 */
bool parameter_name_is_frozen(const char *list, const char *name);

#endif
