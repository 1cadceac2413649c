/* brace_expand: a list of names written as one, as shells and WebDataset do. */
#ifndef BRACE_EXPAND_H
#define BRACE_EXPAND_H

#include <stdint.h>

enum { BRACE_EXPAND_MAX = 1 << 20 };

/* "data/{train,extra}-{000..146}.tar" into its names, the last group running fastest; a range keeps
 * the width of a first number that begins with 0. A pattern without braces is one name, and so is a
 * brace with neither comma nor range in it. (*names)[*n] and each name are the caller's. -1 with a
 * message: more than BRACE_EXPAND_MAX names, a brace that does not close, or memory is out. */
int brace_expand(const char *pattern, char ***names, int64_t *n);
void brace_expand_free(char **names, int64_t n);

#endif
