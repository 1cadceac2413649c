#include "engine/grains.h"

#include <stdbool.h>
#include <string.h>

#include "base/multiversion.h"

/* Number of columns of one pass over the tree, few enough for the first-level cache. */
enum { BLOCK = 512 };

MULTIVERSION void grains_add_floats(float *restrict a, const float *restrict b, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        a[i] += b[i];
}

void grains_sum_floats(float *parts, int64_t grains, int64_t count, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads) if (count > BLOCK)
    for (int64_t at = 0; at < count; at += BLOCK) {
        int64_t n = count - at < BLOCK ? count - at : BLOCK;
        for (int64_t stride = 1; stride < grains; stride *= 2)
            for (int64_t g = 0; g + stride < grains; g += 2 * stride)
                grains_add_floats(parts + g * count + at, parts + (g + stride) * count + at, n);
    }
}

/* The levels are a binary counter. An occupied level holds the sum of 2^level parts. The next part
 * is added to all occupied levels below the first free one, as a carry is. */
void grains_carry_block(float *part, int64_t n, float *levels, int64_t stride, int64_t number,
                        int64_t parts)
{
    const bool last = number == parts - 1;
    float *level = levels;
    for (int64_t rest = number; rest && (last || rest & 1); rest >>= 1, level += stride)
        if (rest & 1)
            grains_add_floats(part, level, n);
    if (!last)
        memcpy(level, part, (size_t)n * sizeof *level);
}

void grains_carry_floats(float *part, int64_t count, float *levels, int64_t stride, int64_t number,
                         int64_t parts, int threads)
{
#pragma omp parallel for schedule(static) num_threads(threads) if (count > BLOCK)
    for (int64_t at = 0; at < count; at += BLOCK)
        grains_carry_block(part + at, count - at < BLOCK ? count - at : BLOCK, levels + at, stride,
                           number, parts);
}
