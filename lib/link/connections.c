#include "link/connections.h"

#include <stdlib.h>

#include "base/grow.h"

void connections_close(struct connections *c, int fd)
{
    for (int i = 0; i < c->n; i++)
        if (c->open[i].fd == fd)
            c->open[i--] = c->open[--c->n];
}

void connections_open(struct connections *c, int fd)
{
    connections_close(c, fd);
    c->accepted++;
    struct connection *open = grow(c->open, c->n, &c->capacity, sizeof *open);
    if (!open)
        return; /* its peer then counts as gone */
    c->open = open;
    open[c->n++] = (struct connection){fd, c->accepted};
}

int connections_number(const struct connections *c, int fd)
{
    for (int i = 0; i < c->n; i++)
        if (c->open[i].fd == fd)
            return c->open[i].number;
    return -1;
}

bool connections_has(const struct connections *c, int number)
{
    for (int i = 0; i < c->n; i++)
        if (c->open[i].number == number)
            return true;
    return false;
}

void connections_free(struct connections *c)
{
    free(c->open);
}
