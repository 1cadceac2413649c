/* waves: the built-in time series, which are drawn and not stored. They are for series what
 * `shapes` is for images.
 *
 * A series is a periodic wave whose form is its class: sine, square, triangle, two sawtooths,
 * pulses up, half a sine, a sine with a strong overtone, pulses down, and a clipped sine. Its
 * frequency, which drifts, its phase, amplitude, offset, trend, slow change and noise are drawn
 * independently of the class, so values at a given time say little about the class, and only the
 * local form identifies it. */
#ifndef WAVES_H
#define WAVES_H

#include <stdbool.h>
#include <stdint.h>

enum { WAVES_CLASSES = 10, WAVES_LENGTH = 128, WAVES_TRAIN = 10000, WAVES_TEST = 2000 };

/* Draws series i of the training or test part into out, F32 (WAVES_LENGTH). Its class is
 * i modulo WAVES_CLASSES. */
void waves_draw(bool test, uint32_t i, float *out);

#endif
