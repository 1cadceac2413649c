/* classes: the names of classes and their numbers. A class's number is its place in the byte order
 * of the names, or in another order that the caller gives. */
#ifndef CLASSES_H
#define CLASSES_H

#include <stdint.h>

enum { CLASSES_MAX = 1 << 20 };

/* A set of classes, which starts as {0}. */
struct classes {
    char **names; /* in byte order */
    int n;
    int64_t capacity;
    int *numbers; /* the number of each name; NULL: its place in `names` */
};

/* Adds a name, unless it has been added before. Call it before classes_order(). Returns -1 with a
 * message if memory is out, or if there would be more than CLASSES_MAX. */
int classes_add(struct classes *c, const char *name);
/* Numbers the classes in another order; `names` has all c->n of them in that order. Returns -1 with
 * a message if memory is out. */
int classes_order(struct classes *c, const char *const *names);
/* Returns the number of a name, or -1 if it was not added. */
int classes_number(const struct classes *c, const char *name);
void classes_free(struct classes *c); /* leaves {0} */

#endif
