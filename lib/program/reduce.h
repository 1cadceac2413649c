/* reduce: sums the tensors of several workers, in the order of the grains' tree. */
#ifndef REDUCE_H
#define REDUCE_H

#include "frame/frame.h"

/* Sums each tensor over frames[0..n-1] in the balanced binary tree of grains.h: ((0+1)+(2+3))+...,
 * by the frames' numbers. The grains of a worker and of its neighbours thus make one tree. A tensor
 * that only some frames have is summed over those. Sums exist for F32, BF16 (added as F32, then
 * rounded), and I32 and I64 (modulo 2^32 and 2^64). The result has the first frame's metadata.
 * Overwrites the values of the frames. Returns NULL with a message if shapes differ, or if several
 * frames have a tensor of a dtype that has no sum. */
struct frame *reduce_sum(struct frame *const *frames, int n);

#endif
