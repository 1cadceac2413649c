/* reduce: sums over workers, in the order of the grains' tree. */
#ifndef REDUCE_H
#define REDUCE_H

#include "frame/frame.h"

/* The sum of each tensor over frames[0..n-1], as a balanced binary tree by number, as grains.h has
 * it: ((0+1)+(2+3))+..., so that a worker's grains and its neighbours' make one tree. A tensor that
 * only some frames have is summed over those. F32 and BF16 (added as F32, then rounded), I32 and
 * I64 (modulo 2^32, 2^64). The metadata is the first frame's. The frames' contents are used up.
 * NULL with a message: shapes differ, or a dtype has no sum and came from more than one. */
struct frame *reduce_sum(struct frame *const *frames, int n);

#endif
