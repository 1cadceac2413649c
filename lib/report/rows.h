/* rows: prints the rows of tensors as lines of text. */
#ifndef ROWS_H
#define ROWS_H

#include <stdio.h>

#include "frame/frame.h"

/* Writes a line for each row of the tensors in `names`, a list such as "index,y", which must all
 * have the same number of rows (their first dimension). The values of a row, in row-major order,
 * and the tensors are separated by tabs. Floats are printed so that they read back exactly. Returns
 * -1 with a message if a tensor is missing or has another number of rows. */
int rows_write(FILE *file, const struct frame *f, const char *names);

#endif
