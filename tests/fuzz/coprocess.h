/* coprocess: the fuzzer's implementation of child.h. Whatever command is started, its output is
 * this stream (see input_stream()), it reads everything that is written to it, and it exits with
 * this status. */
#ifndef COPROCESS_H
#define COPROCESS_H

#include "input.h"

void coprocess_says(struct input stream, int status);

#endif
