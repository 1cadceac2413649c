/* sound: checks that the values of a network make sense, before anything is computed from them. */
#ifndef SOUND_H
#define SOUND_H

#include "frame/frame.h"

/* Checks a tensor of parameters, buffers or an optimizer's state. Returns -1 with a message that
 * names the tensor if it holds NaN or infinity, or if a running variance, a mean of squares or a
 * count is negative. */
int sound_tensor(const struct tensor *t);

#endif
