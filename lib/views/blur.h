/* blur: Gaussian blur with reflected edges, as torchvision's gaussian_blur on float tensors. */
#ifndef BLUR_H
#define BLUR_H

#include <stddef.h>

/* The kernel's width for size x size images: a tenth of the size, made odd (23 for 224). */
int blur_kernel(int size);

/* Number of floats of scratch that blur_gaussian() needs. */
size_t blur_scratch(int size, int kernel);

/* planes F32 (3,size,size), in place; scratch is best at a multiple of 64 bytes. kernel is odd and
 * at most size; sigma in pixels, above 0. */
void blur_gaussian(float *planes, int size, int kernel, float sigma, float *scratch);

#endif
