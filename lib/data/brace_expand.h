/* brace_expand: lists of names in braces, as in shells and WebDataset. */
#ifndef BRACE_EXPAND_H
#define BRACE_EXPAND_H

#include <stdint.h>

enum { BRACE_EXPAND_MAX = 1 << 20 };

/* Expands a pattern such as "data/{train,extra}-{000..146}.tar" to its names, of which the last
 * group changes fastest. A range keeps the width of a first number that begins with 0. A pattern
 * without braces is one name; braces with neither a comma nor a range in them are part of the
 * name. The array *names, of *n texts, is the caller's: free it with brace_expand_free(). Returns
 * -1 with a message, and no names, if there are more than BRACE_EXPAND_MAX, a brace does not
 * close, or memory is out. */
int brace_expand(const char *pattern, char ***names, int64_t *n);
void brace_expand_free(char **names, int64_t n);

#endif
