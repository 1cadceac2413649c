/* waves: the built-in time series, drawn and not stored; for series what `shapes` is for images.
 *
 * A series is a periodic wave whose form is its class (sine, square, triangle, two sawtooths,
 * pulses, half a sine, a sine with a strong overtone, one that swells, one that is clipped). Its
 * frequency, which drifts, its phase, amplitude, offset, trend, slow wandering and noise are drawn
 * without regard to the class, so that values at a time tell little and local form tells all. */
#ifndef WAVES_H
#define WAVES_H

#include <stdbool.h>
#include <stdint.h>

enum { WAVES_CLASSES = 10, WAVES_LENGTH = 128, WAVES_TRAIN = 10000, WAVES_TEST = 2000 };

/* Series i of the split, out F32 (WAVES_LENGTH); its class is i modulo WAVES_CLASSES. */
void waves_draw(bool test, uint32_t i, float *out);

#endif
