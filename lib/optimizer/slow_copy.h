/* slow_copy: a copy of a parameter that follows it slowly, as an exponential moving average. It is
 * the target network of BYOL (arXiv 2006.07733, section 3.1) and the key encoder of MoCo (arXiv
 * 1911.05722, equation 2).
 *
 * The optimizer and each of its stages keep a copy of their own, and apply this function to the
 * same values. The copies never cross a link but once, at the start of a run, so the function must
 * give the same bits in each program and on each processor: this file is compiled without fused
 * multiply-adds (Makefile). */
#ifndef SLOW_COPY_H
#define SLOW_COPY_H

#include <stddef.h>

/* Computes slow += c (now - slow), elementwise in float32 with c = (float)(1 - momentum). Each has
 * n elements. `momentum` is at least 0 and less than 1; with 0 the copy is the parameter, up to a
 * rounding. */
void slow_copy_follow(double momentum, size_t n, const float *now, float *slow);

#endif
