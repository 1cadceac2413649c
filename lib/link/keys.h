/* keys: CURVE on tcp:// links: a program's own keys, and which clients a server admits.
 *
 * A key is 32 bytes, in files 40 characters of Z85. A file of a key holds these, perhaps with a
 * newline; a file of clients has a public key a line, perhaps with a name after it. */
#ifndef KEYS_H
#define KEYS_H

#include <stdbool.h>

#include "link/endpoint.h"

/* Writes a new pair of keys: NAME.key, which only its owner can read, and NAME.pub. Existing files
 * are not touched. Returns -1 with a message, and neither file is there then. */
int keys_generate(const char *name);

/* Sets the keys of `config` on a ZeroMQ socket, before it binds or connects; does nothing unless
 * the endpoint is tcp:// and there are keys. With config->curve_clients a socket that binds admits
 * only clients whose keys are in that file: libzmq asks a thread in `context` about each of them.
 * The first ten that are refused are reported on stderr. The file is read once, and a process has
 * one such list for all its sockets. Returns -1 with a message. */
int keys_set(void *context, void *zmq, const char *endpoint, bool binds,
             const struct link_config *config);
/* Call after zmq_ctx_term(), which ends that thread. */
void keys_end(void);

#endif
