/* coprocess: the fuzzer's implementation of child.h. Whatever command is started, its output is
 * this stream (see input_stream()), it reads everything that is written to it, and it exits with
 * this status. */
#ifndef COPROCESS_H
#define COPROCESS_H

#include "input.h"

void coprocess_says(struct input stream, int status);
/* Does the same for output that consists of these bytes. The first command that is started delivers
 * no more than `first` of them. */
void coprocess_prints(struct input bytes, size_t first, int status);

#endif
