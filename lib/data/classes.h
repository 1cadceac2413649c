/* classes: names of classes and their numbers, which are their places in the order of bytes. */
#ifndef CLASSES_H
#define CLASSES_H

#include <stdint.h>

enum { CLASSES_MAX = 1 << 20 };

/* Start with {0}. */
struct classes {
    char **names; /* ascending */
    int n;
    int64_t capacity;
};

/* Adds a name unless it is there. -1 with a message: memory is out, or more than CLASSES_MAX. */
int classes_add(struct classes *c, const char *name);
/* The number of a name among all that were added, or -1. */
int classes_number(const struct classes *c, const char *name);
void classes_free(struct classes *c); /* leaves {0} */

#endif
