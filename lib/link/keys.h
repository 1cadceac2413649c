/* keys: CURVE on tcp links: a program's own keys, and which clients a server lets in.
 *
 * A key is 32 bytes, in files 40 characters of Z85. A file of a key holds these, perhaps with a
 * newline; a file of clients has a public key a line, perhaps with a name behind it. */
#ifndef KEYS_H
#define KEYS_H

#include <stdbool.h>

#include "link/endpoint.h"

/* Writes a new pair: NAME.key, which only its owner can read, and NAME.pub. Both or none; files
 * that are there already are not touched. -1 with a message. */
int keys_generate(const char *name);

/* Gives a ZeroMQ socket what `config` says, before it binds or connects: nothing unless it is for
 * tcp and there are keys. With config->curve_clients a socket that binds lets in only the clients
 * whose keys are in that file: libzmq asks a thread in `context` about each of them, and the first
 * that are refused are told about on stderr. The file is read once; a process has one. -1 with a
 * message. */
int keys_set(void *context, void *zmq, const char *endpoint, bool binds,
             const struct link_config *config);
/* Call after zmq_ctx_term(), which ends that thread. */
void keys_end(void);

#endif
