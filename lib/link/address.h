/* address: what libzmq leaves to do before it connects to an address or listens there. Functions
 * return 0, or -1 with a message, unless their declarations say otherwise. */
#ifndef ADDRESS_H
#define ADDRESS_H

#include <stddef.h>

/* Returns the address by which libzmq knows an endpoint, which the caller frees, or NULL with a
 * message. It is the endpoint itself, except for shm://NAME: that is an abstract Unix socket, which
 * leaves no file however its process ends, under a name of the user's number and NAME. Fails if NAME
 * has other characters than letters, digits, '.', '_' and '-', or more than ENDPOINT_NAME_MAX. */
char *address_of(const char *endpoint);

/* Checks the path of an address ipc://path, since libzmq removes any file there. Fails if another
 * program uses the socket there, or if the file is not a socket. */
int address_check_path(const char *endpoint);

enum { ADDRESS_NUMERIC = 64 }; /* room for an address with a number */

/* Replaces the host name in an address tcp://name:port by its number, which is looked up as IPv4, as
 * for a client. To listen, libzmq accepts numbers and names of devices, such as eth0, but not host
 * names. */
int address_numeric(const char *endpoint, char *numeric, size_t size);

#endif
