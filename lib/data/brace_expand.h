/* brace_expand: lists of names in braces, as in shells and WebDataset. */
#ifndef BRACE_EXPAND_H
#define BRACE_EXPAND_H

#include <stdint.h>

enum { BRACE_EXPAND_MAX = 1 << 20 };

/* Expands a pattern such as "data/{train,extra}-{000..146}.tar" to its names; the last group
 * changes fastest. If the first number of a range begins with 0, all its numbers have the same
 * width. A pattern without braces is one name; braces with neither a comma nor a range in them are
 * part of the name. The array *names of *n texts belongs to the caller, who frees it with
 * brace_expand_free(). Returns -1 with a message, and no names, if there are more than
 * BRACE_EXPAND_MAX, a brace is not closed, or memory is out. */
int brace_expand(const char *pattern, char ***names, int64_t *n);
void brace_expand_free(char **names, int64_t n);

#endif
