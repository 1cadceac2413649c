/* class_names: the names of a stream's labels, which its first frame carries as metadata
 * `class_names`: a JSON array of strings, of which number i names label i. */
#ifndef CLASS_NAMES_H
#define CLASS_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* Start with {0}. */
struct class_names {
    char **list; /* UTF-8 */
    int n;
};

/* Parses a JSON array of strings. Returns -1 with a message if it is none, if it has a name twice,
 * or if memory is out; c then holds no names. */
int class_names_parse(struct class_names *c, const char *json);

/* Makes the union: the names of a in their order, then those that only b has. number[i] becomes the
 * number of b's name i in it. Returns how many names a and b share, or -1 if memory is out. */
int class_names_unite(struct class_names *all, const struct class_names *a,
                      const struct class_names *b, int *number);

/* Writes a name as a message shows it, at most 40 bytes, cut between characters, to out. Returns
 * out. */
enum { CLASS_NAMES_SHOWN = 48 };
const char *class_names_show(const char *name, char out[CLASS_NAMES_SHOWN]);

void class_names_free(struct class_names *c); /* leaves {0} */

#endif
