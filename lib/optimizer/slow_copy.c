#include "optimizer/slow_copy.h"

/* It is bound by memory, so it is not MULTIVERSION, whose clones could use fused instructions. */
void slow_copy_follow(double momentum, size_t n, const float *restrict now, float *restrict slow)
{
    const float c = (float)(1 - momentum);
    for (size_t i = 0; i < n; i++)
        slow[i] += c * (now[i] - slow[i]);
}
