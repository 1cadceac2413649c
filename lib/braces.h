/* braces: a list of names written as one, as shells and WebDataset do. */
#ifndef BRACES_H
#define BRACES_H

#include <stdint.h>

enum { BRACES_MAX = 1 << 20 };

/* "data/{train,extra}-{000..146}.tar" into its names, the last group running fastest; a range keeps
 * the width of a first number that begins with 0. A pattern without braces is one name, and so is a
 * brace with neither comma nor range in it. (*names)[*n] and each name are the caller's. -1 with a
 * message: more than BRACES_MAX names, a brace that does not close, or memory is out. */
int braces_expand(const char *pattern, char ***names, int64_t *n);
void braces_free(char **names, int64_t n);

#endif
