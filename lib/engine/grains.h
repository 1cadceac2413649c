/* grains: sums over images that the numbers of threads and of workers change by no bit.
 *
 * A batch is cut into grains of neighbouring images. What a sum over the batch needs is first
 * summed inside each grain in a fixed order; these functions add the grains' sums as a balanced
 * binary tree by grain number: ((0+1)+(2+3))+((4+5)+(6+7)). A worker that holds a subtree sends
 * that subtree's sum, so the tree over all workers is the tree over one worker's grains. */
#ifndef GRAINS_H
#define GRAINS_H

#include <stdint.h>

/* Adds b (n) to a (n). They must not overlap. */
void grains_add_floats(float *restrict a, const float *restrict b, int64_t n);

/* Adds the rows of parts (grains, count). On return row 0 holds the tree's sum; what the other rows
 * held is lost. When grains is no power of two, the tree's last subtree is the smaller one. The
 * threads share the columns, and their number changes no bit. */
void grains_sum_floats(float *parts, int64_t grains, int64_t count, int threads);

/* Adds up the same tree from parts (count) that come one after another: part number 0, 1, ... of
 * `parts`. levels is the caller's memory for what was added so far: one row for each binary digit
 * of parts - 1, rows `stride` floats apart, of which the first `count` are used. A call uses up
 * `part`; after the last part it holds the sum. */
void grains_carry_floats(float *part, int64_t count, float *levels, int64_t stride, int64_t number,
                         int64_t parts, int threads);

#endif
