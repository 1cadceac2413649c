/* noise: Gaussian noise that is a function of a Philox key and counter alone.
 *
 * Pixel i of the view, counted along its rows, uses the block that Philox4x32-10 computes from the
 * counter with i added to its first word. Its words u0 to u3, as fractions f = (u >> 8) / 2^24, are
 * the polar coordinates of normally distributed numbers (Box and Muller 1958):
 *
 *   red    sqrt(-2 ln(1 - f0)) cos(2 pi f1)
 *   green  sqrt(-2 ln(1 - f0)) sin(2 pi f1)
 *   blue   sqrt(-2 ln(1 - f2)) cos(2 pi f3)
 *
 * Those are channels 0, 1 and 2. Channels 3g, 3g + 1 and 3g + 2 use the counter with 2^12 g added to
 * its last word, which has room for it: its lower 24 bits are the number of the view.
 *
 * Value i of a series, counted channel after channel at each step, uses the formula for red. */
#ifndef NOISE_H
#define NOISE_H

#include <math.h>
#include <stdint.h>

#include "base/vector_math.h"
#include "views/operation.h"

/* The drawn values of the operations `noise` on images and `jitter` on series. */
struct noise {
    float sigma; /* standard deviation; in images white is 1, in series the unit is theirs */
    uint32_t key[2], counter[4];
};

/* The fields of a struct noise: sigma, key and counter. */
extern const struct operation_field noise_fields[];

/* The parameters of both operations: the probability, and the range of sigma. */
enum { NOISE_P, NOISE_SIGMA };

/* Draws the values of both operations, as struct operation's draw(). Besides sigma, they use the
 * random stream of the view's name for RANDOM_PIXELS, from block 2^28 x (the operation's place in
 * the list) on. */
void noise_draw(const struct operation_use *use, const struct operation_context *context,
                void *drawn);

/* Return the polar coordinates of a normally distributed number: its angle, as a fraction of the
 * circle, and its radius. */
static inline float noise_angle(uint32_t u)
{
    return (float)(int32_t)(u >> 8) * 0x1p-24f;
}

static inline float noise_radius(uint32_t u)
{
    return sqrtf(-2 * log_float(1 - noise_angle(u)));
}

#endif
