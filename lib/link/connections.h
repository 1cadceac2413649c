/* connections: the open connections of a socket, by numbers that are never used again. The system
 * uses the descriptors of connections again. */
#ifndef CONNECTIONS_H
#define CONNECTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct connections { /* initially all zero */
    struct connection {
        int fd, number;
    } * open;
    int64_t capacity;
    int n, accepted;
};

/* Adds a connection, in place of one that had the same descriptor. */
void connections_open(struct connections *c, int fd);
void connections_close(struct connections *c, int fd);

/* Returns the number of an open connection, or -1. */
int connections_number(const struct connections *c, int fd);

/* Returns true if the connection with this number is open. */
bool connections_has(const struct connections *c, int number);

void connections_free(struct connections *c);

#endif
