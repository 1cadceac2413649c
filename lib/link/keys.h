/* keys: CURVE encryption on tcp:// links. It sets a program's own keys and the list of clients that
 * a server admits.
 *
 * A key is 32 bytes; a file holds it as 40 characters of Z85. A key file contains just these,
 * perhaps with a newline. A file of clients has one public key a line, perhaps followed by a name.
 */
#ifndef KEYS_H
#define KEYS_H

#include <stdbool.h>

#include "link/endpoint.h"

/* Writes a new pair of keys: NAME.key, which only its owner can read, and NAME.pub. Existing files
 * are not touched. Returns -1 with a message; then neither file has been written. */
int keys_generate(const char *name);

/* Sets the keys of `config` on a ZeroMQ socket, before it binds or connects. Does nothing unless
 * the endpoint is tcp:// and config names keys. With config->curve_clients, a socket that binds
 * admits only clients whose keys are in that file: libzmq asks a thread in `context` about each
 * client. The first ten refusals are reported on stderr. The file is read once, and all sockets of
 * a process share one such list. Returns -1 with a message. */
int keys_set(void *context, void *zmq, const char *endpoint, bool binds,
             const struct link_config *config);
/* Frees the list of clients. Call it after zmq_ctx_term(), which ends that thread. */
void keys_end(void);

#endif
