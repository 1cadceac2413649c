/* grains: sums over images that have the same bits for any number of threads and of workers.
 *
 * A batch is divided into grains of neighbouring images. A sum over the batch is first computed
 * inside each grain in a fixed order. These functions then add the grains' sums as a balanced
 * binary tree by grain number: ((0+1)+(2+3))+((4+5)+(6+7)). A worker that holds a subtree sends
 * that subtree's sum, so the workers' sums are added in the same tree as the grains of a single
 * worker. */
#ifndef GRAINS_H
#define GRAINS_H

#include <stdint.h>

/* Adds b (n) to a (n). They must not overlap. */
void grains_add_floats(float *restrict a, const float *restrict b, int64_t n);

/* Adds the rows of parts (grains, count). On return row 0 holds the tree's sum, and the other rows
 * are overwritten. If grains is not a power of two, the tree's last subtree is the smaller one. The
 * threads share the columns, and their number changes no bit. */
void grains_sum_floats(float *parts, int64_t grains, int64_t count, int threads);

/* Adds the same tree from parts (count) that arrive one after another: part number 0, 1, ... of
 * `parts`. levels is the caller's memory for the partial sums. It has one row for each binary digit
 * of parts - 1; rows are `stride` floats apart, and the first `count` floats of each are used. A
 * call overwrites `part`; after the last part, `part` holds the sum. The second function computes on
 * the calling thread, without a team. */
void grains_carry_floats(float *part, int64_t count, float *levels, int64_t stride, int64_t number,
                         int64_t parts, int threads);
void grains_carry_block(float *part, int64_t count, float *levels, int64_t stride, int64_t number,
                        int64_t parts);

#endif
