/* class_names: what the labels of a stream mean, as its first frame says: metadata `class_names`, a
 * JSON array of strings, of which number i names label i. */
#ifndef CLASS_NAMES_H
#define CLASS_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* Start with {0}. */
struct class_names {
    char **list; /* UTF-8 */
    int n;
};

/* Reads a JSON array of strings. -1 with a message: it is none, or has a name twice, or memory is
 * out; then there are no names. */
int class_names_parse(struct class_names *c, const char *json);

/* The union: names of a in their order, then those that only b has. number[i] is that of b's name
 * i. Returns how many names a and b share, or -1 when memory is out. */
int class_names_unite(struct class_names *all, const struct class_names *a,
                      const struct class_names *b, int *number);

/* A name as a message shows it: at most 40 bytes, cut between characters, into out, which is
 * returned. */
enum { CLASS_NAMES_SHOWN = 48 };
const char *class_names_show(const char *name, char out[CLASS_NAMES_SHOWN]);

void class_names_free(struct class_names *c); /* leaves {0} */

#endif
