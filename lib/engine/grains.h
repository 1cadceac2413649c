/* grains: sums over images that neither threads nor workers change by a bit.
 *
 * A batch is cut into grains of neighbouring images. What a sum over the batch needs is first
 * summed inside each grain in a fixed order; these functions add the grains' sums as a balanced
 * binary tree by grain number: ((0+1)+(2+3))+((4+5)+(6+7)). A worker that holds a subtree sends
 * that subtree's sum, so the tree over all workers is the tree over one worker's grains. */
#ifndef GRAINS_H
#define GRAINS_H

#include <stdint.h>

/* parts (grains, count): on return row 0 holds the tree's sum; the other rows are used up. When
 * grains is no power of two, the tree's last subtree is the smaller one. `threads` only share the
 * columns out. */
void grains_sum_floats(float *parts, int64_t grains, int64_t count, int threads);

/* The same tree for parts (count) that come one after another: part number 0, 1 ... of `parts`.
 * levels holds what was added so far: one row for each binary digit of parts - 1, rows `stride`
 * apart, of which the first `count` values are used. After the last part `part` holds the sum. */
void grains_carry_floats(float *part, int64_t count, float *levels, int64_t stride, int64_t number,
                         int64_t parts, int threads);

#endif
