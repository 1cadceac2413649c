/* color: what is done to each pixel by itself, with the semantics of torchvision's float tensors:
 * each of these clamps to [0,1], and a pixel's grey is 0.2989 R + 0.587 G + 0.114 B.
 *
 * rgb is F32 (3,n) in [0,1], changed in place. */
#ifndef COLOR_H
#define COLOR_H

#include <stddef.h>
#include <stdint.h>

/* The steps of colour jitter. Their factors are 1 for no change, but for the hue's, 0. */
enum jitter {
    JITTER_BRIGHTNESS, /* toward black; 0 is black */
    JITTER_CONTRAST,   /* toward the image's mean grey */
    JITTER_SATURATION, /* toward each pixel's grey */
    JITTER_HUE,        /* turns the hue of HSV: 1 would be a whole turn; -0.5 to 0.5 */
    JITTER_COUNT
};

/* Takes n_steps different steps in that order. factors are indexed by enum jitter. */
void color_jitter(float *rgb, size_t n, const enum jitter *order, int n_steps,
                  const float *factors);

void color_gray(float *rgb, size_t n);
void color_solarize(float *rgb, size_t n, float threshold); /* x becomes 1 - x from there on */

/* rgb -> out U8 (n,3): 255 times the value, rounded to the nearest, halves up. */
void color_quantize(const float *rgb, size_t n, uint8_t *out);

#endif
