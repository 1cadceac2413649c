/* gather: rows of several workers as one batch, and the answer's rows back. */
#ifndef GATHER_H
#define GATHER_H

#include <stdint.h>

#include "frame/frame.h"

/* A frame with the rows of frames[0..n-1] one below the other, and the metadata of the first.
 * rows[i] becomes the number of rows of frames[i]. All have the same tensors, of the same dtypes
 * and shapes but for the first dimension, which within a frame is one number. NULL with a message
 * that names what differs. */
struct frame *gather_rows(struct frame *const *frames, int n, int64_t *rows);

/* The rows from `first` on, `count` of `total`, of each tensor that has `total` rows; other tensors
 * and the metadata whole. NULL with a message. */
struct frame *gather_part(const struct frame *whole, int64_t first, int64_t count, int64_t total);

#endif
