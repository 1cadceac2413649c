/* gather: joins the rows of several workers to one batch, and takes each worker's rows out of the
 * answer. */
#ifndef GATHER_H
#define GATHER_H

#include <stdint.h>

#include "frame/frame.h"

/* Makes a frame with the rows of frames[0..n-1], one after the other, and the metadata of the
 * first. rows[i] becomes the number of rows of frames[i]. All frames must have the same tensors, of
 * the same dtypes and shapes but for the first dimension, which must be the same for all tensors of
 * a frame. Returns NULL with a message that names what differs. */
struct frame *gather_rows(struct frame *const *frames, int n, int64_t *rows);

/* Makes a frame with `count` rows, from `first` on, of each tensor that has `total` rows; other
 * tensors and the metadata are copied whole. NULL with a message. */
struct frame *gather_part(const struct frame *whole, int64_t first, int64_t count, int64_t total);

#endif
