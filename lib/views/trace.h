/* trace: the lines of --trace, with which any other implementation can redo the views. */
#ifndef TRACE_H
#define TRACE_H

#include <stdint.h>
#include <stdio.h>

#include "views/view.h"

/* Writes a line of JSON for each of views[n][n_views], whose images are index[n]:
 *
 *   {"epoch":0,"index":17,"view":1,"ops":[{"op":"crop","x":3,"y":0,"w":20,"h":22},{"op":"flip"}]}
 *
 * ops are in the order in which they were applied, each with its drawn values as the fields of its
 * struct operation name them. Where the image was decoded at 1/d, `reduction` is d; boxes are those
 * of the image at full size. Numbers read back exactly as float32. Returns -1 with a message that
 * names the file. */
int trace_views(FILE *file, const char *path, int64_t epoch, const int64_t *index, int64_t n,
                int n_views, const struct view *views);

#endif
