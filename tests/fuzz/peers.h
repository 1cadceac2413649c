/* peers: ZeroMQ as the fuzzer plays it: socket.h, whose messages are the parts of an input.
 *
 * A part begins with a digit, which says who sends it, and goes on as an input_frame(). "-" and a
 * digit: that one is gone. "~": time passes. After the last part the program is asked to stop. All
 * sockets take their messages from the same input. What is sent is looked at. */
#ifndef PEERS_H
#define PEERS_H

#include "input.h"

void peers_play(struct input rest);

#endif
