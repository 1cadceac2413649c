/* transpose: rows of values become columns. */
#ifndef TRANSPOSE_H
#define TRANSPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRANSPOSE_ROWS = 32 };

/* TRANSPOSE_ROWS rows of c values, of which row i lies at from[i], become c rows at `to`, `pitch`
 * bytes apart. With pairs the values are bf16, else floats. */
void transpose_rows(const char *const *from, int64_t c, bool pairs, char *to, size_t pitch);

#endif
