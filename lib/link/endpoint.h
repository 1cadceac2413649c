/* endpoint: the meaning of the words after --in, --out, --next, --opt and --listen, and the
 * settings of links. docs/links.md describes them for users.
 *
 *   -                              stdin or stdout
 *   PATH                           a regular file or a FIFO
 *   exec:CMD                       a coprocess, run by /bin/sh
 *   tcp://host:port or ipc://path  ZeroMQ
 *   shm://NAME                     ZeroMQ between processes of one user, through a socket without a
 *                                  file; the data of links lies in shared memory */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum endpoint_kind { ENDPOINT_STANDARD, ENDPOINT_PATH, ENDPOINT_EXEC, ENDPOINT_SOCKET };

/* Returns the kind of an endpoint, which depends only on how its text begins. */
enum endpoint_kind endpoint_kind(const char *endpoint);

enum { ENDPOINT_NAME_MAX = 64 };
/* Returns NAME, which need not be valid, of an endpoint shm://NAME, or NULL for any other. */
const char *endpoint_name(const char *endpoint);

/* The largest number of endpoints in a list. */
enum { ENDPOINTS_MAX = 64 };
/* Takes the first endpoint off a list "exec:CMD,tcp://host:port,...". Returns a pointer to its
 * beginning, sets *length to its length in bytes and *list to the rest. Returns NULL if none is
 * left. A comma separates two endpoints only if exec:, tcp://, ipc:// or shm:// follows it, perhaps
 * after blanks; any other comma belongs to a command or path. Blanks around an endpoint are not part
 * of it. */
const char *endpoint_take(const char **list, size_t *length);

/* The settings of links, streams and servers, which the flags in link_options.h set. */
struct link_config {
    double timeout;               /* seconds */
    int64_t max_frame;            /* bytes */
    bool crc;                     /* write crc32 */
    bool no_shared_memory;        /* send all data through pipes and sockets */
    bool insecure;                /* allow tcp:// beyond loopback without keys */
    const char *curve_key;        /* file with this program's secret key, or "" */
    const char *curve_server_key; /* file with the server's public key, or "" */
    const char *curve_clients;    /* file with the public keys of admitted clients, or "" for all */
    const char *run;              /* ID of the run that frames over sockets must carry, or "" */
};

/* Checks that a ZeroMQ address may be used with this configuration. Returns -1 with a message if it
 * is tcp:// beyond loopback and neither keys nor --insecure were given. */
int endpoint_allowed(const char *endpoint, const struct link_config *config);

#endif
