/* class_names: the names of a stream's labels. The first frame carries them as metadata
 * `class_names`, a JSON array of strings in which string i names label i. */
#ifndef CLASS_NAMES_H
#define CLASS_NAMES_H

#include <stddef.h>
#include <stdint.h>

/* A list of names. Initialize it with {0}. */
struct class_names {
    char **list; /* UTF-8 */
    int n;
};

/* Parses a JSON array of strings. Returns -1 with a message if json is not such an array, if a name
 * occurs twice, or if memory is out; c then holds no names. */
int class_names_parse(struct class_names *c, const char *json);

/* Makes the union of a and b: the names of a in their order, then those that only b has. number[i]
 * becomes the index in *all of b's name i. Returns how many names a and b share, or -1 if memory is
 * out. */
int class_names_unite(struct class_names *all, const struct class_names *a,
                      const struct class_names *b, int *number);

/* Writes a name to out as a message shows it: at most 40 bytes, cut between characters. Returns
 * out. */
enum { CLASS_NAMES_SHOWN = 48 };
const char *class_names_show(const char *name, char out[CLASS_NAMES_SHOWN]);

void class_names_free(struct class_names *c); /* leaves {0} */

#endif
