/* transpose: transposes matrices of values. */
#ifndef TRANSPOSE_H
#define TRANSPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TRANSPOSE_ROWS = 32 };

/* Transposes TRANSPOSE_ROWS rows of c values, where row i begins at from[i]. The result is c rows
 * of TRANSPOSE_ROWS values at `to`, which are `pitch` bytes apart. With `pairs` the values are
 * bf16, else floats. A row of 32 bf16 has 64 bytes, one of floats 128; nothing else of `to` is
 * written. */
void transpose_rows(const char *const *from, int64_t c, bool pairs, char *to, size_t pitch);

#endif
