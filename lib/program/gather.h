/* gather: joins the rows of several workers to one batch, and extracts each worker's rows from the
 * answer. */
#ifndef GATHER_H
#define GATHER_H

#include <stdint.h>

#include "frame/frame.h"

/* Makes a frame with the rows of frames[0..n-1], one frame after the other, and the metadata of the
 * first. rows[i] becomes the number of rows of frames[i]. All frames must have the same tensors,
 * with the same dtypes and shapes except for the first dimension, which must be the same for all
 * tensors of a frame. Returns NULL with a message that names the difference. */
struct frame *gather_rows(struct frame *const *frames, int n, int64_t *rows);

/* Makes a frame with `count` rows, starting at row `first`, of each tensor that has `total` rows.
 * Other tensors and the metadata are copied whole. Returns NULL with a message. */
struct frame *gather_part(const struct frame *whole, int64_t first, int64_t count, int64_t total);

#endif
