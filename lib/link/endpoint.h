/* endpoint: what the words after --in, --out, --next, --opt and --listen mean, and the settings of
 * links. docs/links.md is the page for users.
 *
 *   -                         stdin or stdout
 *   PATH                      a regular file or a FIFO
 *   exec:CMD                  a coprocess, run by /bin/sh
 *   tcp://host:port ipc://path  ZeroMQ */
#ifndef ENDPOINT_H
#define ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum endpoint_kind { ENDPOINT_STANDARD, ENDPOINT_PATH, ENDPOINT_EXEC, ENDPOINT_SOCKET };

enum endpoint_kind endpoint_kind(const char *endpoint);

/* At most so many in a list. */
enum { ENDPOINTS_MAX = 64 };
/* Takes the first endpoint off a list "exec:CMD,tcp://host:port,...": it is *length bytes from the
 * return value on, and *list is the rest; NULL when none is left. A comma separates where exec:,
 * tcp:// or ipc:// follows, perhaps after blanks; any other belongs to a command or path. Blanks
 * around an endpoint are not part of it. */
const char *endpoint_take(const char **list, size_t *length);

struct link_config {
    double timeout;               /* seconds */
    int64_t max_frame;            /* bytes */
    bool crc;                     /* write crc32 */
    bool insecure;                /* allow tcp beyond loopback without keys */
    const char *curve_key;        /* file with this program's secret key, or "" */
    const char *curve_server_key; /* file with the server's public key, or "" */
    const char *curve_clients;    /* file with the public keys of clients let in; "": all */
    const char *run;              /* written into frames over sockets, and wanted there; or "" */
};

/* 0 if a ZeroMQ address may be used with this configuration; -1 with a message if it is tcp beyond
 * loopback and neither keys nor --insecure were given. */
int endpoint_allowed(const char *endpoint, const struct link_config *config);

#endif
