/* trace: writes the lines of --trace, from which any other implementation can compute the views
 * again. */
#ifndef TRACE_H
#define TRACE_H

#include <stdint.h>
#include <stdio.h>

#include "views/view.h"

/* Writes a line of JSON for each of views[n][n_views], whose images are index[n]:
 *
 *   {"epoch":0,"index":17,"view":1,"ops":[{"op":"crop","x":3,"y":0,"w":20,"h":22},{"op":"flip"}]}
 *
 * ops are in the order in which they were applied. Each has its drawn values, under the names of
 * its struct operation's fields. If the image was decoded at 1/d, `reduction` is d; boxes refer to
 * the image at full size. Numbers can be read back exactly as float32. Returns -1 with a message
 * that names the file. */
int trace_views(FILE *file, const char *path, int64_t epoch, const int64_t *index, int64_t n,
                int n_views, const struct view *views);

#endif
