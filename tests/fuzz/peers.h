/* peers: the fuzzer's implementation of ZeroMQ (socket.h), whose messages are the parts of an
 * input.
 *
 * A part begins with a digit, which identifies the sender, and continues as for input_frame(). "-"
 * and a digit mean that this sender is gone, and "~" that time passes. After the last part the
 * program receives a request to stop. All sockets take their messages from the same input. Messages
 * that are sent are checked. */
#ifndef PEERS_H
#define PEERS_H

#include "input.h"

void peers_play(struct input rest);

#endif
