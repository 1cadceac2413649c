/* address: what libzmq leaves to do before it listens at an address. Functions return 0, or -1 with a
 * message. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stddef.h>

/* Checks the path of an address ipc://path, since libzmq removes any file there. Fails if another
 * program uses the socket there, or if the file is not a socket. */
int address_check_path(const char *endpoint);

enum { ADDRESS_NUMERIC = 64 }; /* room for an address with a number */

/* Replaces the host name in an address tcp://name:port by its number, which is looked up as IPv4, as
 * for a client. To listen, libzmq accepts numbers and names of devices, such as eth0, but not host
 * names. */
int address_numeric(const char *endpoint, char *numeric, size_t size);

#endif
