/* trace: tells what was done to each view, so that any other implementation can redo it. */
#ifndef TRACE_H
#define TRACE_H

#include <stdint.h>
#include <stdio.h>

#include "views/policy.h"

/* Writes a line of JSON for each of views[n][n_views], whose images are index[n]: epoch, index,
 * view, and ops in the order in which they were applied, with what was drawn for them:
 *   {"epoch":0,"index":17,"view":1,"ops":[{"op":"crop","x":3,"y":0,"w":20,"h":22},{"op":"flip"}]}
 * crop and center tell the box of the image that was resized; jitter its order and factors; blur
 * sigma and kernel; solarize its threshold; cutout the box of the view that was filled; rotate the
 * degrees, counterclockwise; noise sigma, and the key and counter of which noise.h makes normals.
 * Of a series, crop and center tell start and length of the steps that were resized, mask those of
 * the view's steps that were set to 0, jitter is as noise, scaling tells its factor, permutation
 * the view's steps at which it was cut, and the order that the segments were put in.
 * Beside ops, reduction is d where the image was decoded at 1/d; boxes are those of the whole one.
 * Numbers read back exactly as float32. -1 with a message that names the file. */
int trace_views(FILE *file, const char *path, int64_t epoch, const int64_t *index, int64_t n,
                int n_views, const struct view *views);

#endif
