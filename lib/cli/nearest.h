/* nearest: finds the name that a misspelt word probably means. */
#ifndef NEAREST_H
#define NEAREST_H

#include <stddef.h>

/* Returns the one of `count` names that is nearest to `word`, or NULL if none is near. The distance is the
 * number of letters that have to be inserted, removed, replaced or swapped with their neighbour
 * (the optimal string alignment distance), where case does not count. A name is near if that number
 * is at most a third of the longer word's length, and at most 3; or if it begins with `word` and no
 * other name does. The first of equally near names is returned. Names of more than 63 characters are
 * never near. */
const char *nearest_name(const char *word, const char *const *names, size_t count);

#endif
