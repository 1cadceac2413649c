/* coprocess: child.h as the fuzzer plays it: whatever command is started, its output is this
 * stream (see input_stream()), it takes all that is written to it, and exits with that status. */
#ifndef COPROCESS_H
#define COPROCESS_H

#include "input.h"

void coprocess_says(struct input stream, int status);

#endif
