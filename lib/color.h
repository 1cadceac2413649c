/* color: what colour jitter is made of, with the semantics of torchvision's float tensors: each of
 * these clamps to [0,1], and a pixel's grey is 0.2989 R + 0.587 G + 0.114 B.
 *
 * rgb is F32 (3,n) in [0,1], changed in place. */
#ifndef COLOR_H
#define COLOR_H

#include <stddef.h>

void color_brightness(float *rgb, size_t n, float factor); /* toward black; 0 is black */
void color_contrast(float *rgb, size_t n, float factor);   /* toward the image's mean grey */
void color_saturation(float *rgb, size_t n, float factor); /* toward each pixel's grey */
/* Turns the hue of HSV by `turn` (a whole turn is 1), -0.5 to 0.5. */
void color_hue(float *rgb, size_t n, float turn);
void color_gray(float *rgb, size_t n);

#endif
