/* classes: the names of classes and their numbers, which are their places in the order of bytes, or
 * in another order that is given. */
#ifndef CLASSES_H
#define CLASSES_H

#include <stdint.h>

enum { CLASSES_MAX = 1 << 20 };

/* Start with {0}. */
struct classes {
    char **names; /* in the order of bytes */
    int n;
    int64_t capacity;
    int *numbers; /* of each name; NULL: its place in `names` */
};

/* Adds a name, unless it is there. Call it before classes_order(). Returns -1 with a message if
 * memory is out, or if there would be more than CLASSES_MAX. */
int classes_add(struct classes *c, const char *name);
/* Numbers the classes in another order: `names` has all c->n of them. Returns -1 with a message if
 * memory is out. */
int classes_order(struct classes *c, const char *const *names);
/* The number of a name, or -1 if it was not added. */
int classes_number(const struct classes *c, const char *name);
void classes_free(struct classes *c); /* leaves {0} */

#endif
