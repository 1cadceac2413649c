/* parameter_name: decides from the name of a parameter or buffer how it is optimized. */
#ifndef PARAMETER_NAME_H
#define PARAMETER_NAME_H

#include <stdbool.h>

/* Returns true if the tensor is a buffer, which is stored and never optimized: *.running_mean,
 * *.running_var, *.num_batches_tracked, and the state of a loss. */
bool parameter_name_is_buffer(const char *name);

/* Returns true if the tensor is a part of a loss's state, loss.*: a buffer that the optimizer's
 * state has and its model has not. */
bool parameter_name_is_loss(const char *name);

/* Returns true if a client owes the tensor, unless it is frozen: a step is complete only when its
 * gradient has come, or its value if it is a loss's. Other buffers may be missing. */
bool parameter_name_is_owed(const char *name);

/* Returns true if a tensor is frozen. `list` is the metadata `frozen` of the join that it came
 * with, or NULL if nothing is frozen: a list such as "conv1,bn1,layer1" of whole names, or of
 * beginnings of names up to a '.'. A frozen tensor is stored like the others, but clients send
 * neither gradients nor values of it. */
bool parameter_name_is_frozen(const char *list, const char *name);

#endif
