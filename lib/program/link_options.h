/* link_options: the flags that programs with links share, and their values. */
#ifndef LINK_OPTIONS_H
#define LINK_OPTIONS_H

#include "cli/options.h"
#include "link/endpoint.h"
#include "link/server.h"

/* The flags --timeout, --max-frame, --crc, --insecure, --curve-key, --curve-server-key,
 * --curve-clients and --run. Every program that opens a link, a stream or a server takes them. */
extern struct link_config link_options;
extern const struct option_spec link_option_specs[];

/* The flags --in, --out and --listen of a program that answers requests. The member `link` is
 * link_options. */
extern struct server_config server_options;
extern const struct option_spec server_option_specs[];

#endif
