#include "data/waves.h"

#include <math.h>

#include "base/random.h"

/* Returns the value of a wave, from -1 to 1, at a phase from 0 to 1. */
static double form_at(int form, double phase)
{
    const double sine = sin(2 * M_PI * phase);
    switch (form) {
    case 0:
        return sine;
    case 1: /* square */
        return phase < 0.5 ? 1 : -1;
    case 2: /* triangle */
        return 4 * fabs(phase - 0.5) - 1;
    case 3: /* sawtooths */
        return 2 * phase - 1;
    case 4:
        return 1 - 2 * phase;
    case 5: /* pulses up */
        return phase < 0.2 ? 1 : -1;
    case 6: /* half a sine */
        return 2 * fmax(sine, 0) - 1;
    case 7: /* overtone */
        return 0.6 * sine + 0.4 * sin(6 * M_PI * phase);
    case 8: /* pulses down */
        return phase < 0.2 ? -1 : 1;
    default: /* clipped */
        return fmax(-0.6, fmin(0.6, 1.2 * sine)) / 0.6;
    }
}

void waves_draw(bool test, uint32_t i, float *out)
{
    struct random r;
    random_start(&r, 0, RANDOM_WAVE, test, i, 0);
    const int form = (int)(i % WAVES_CLASSES);
    const double cycles = 3 * pow(3, random_double(&r)), phase = random_double(&r);
    const double drift = random_uniform(&r, -0.3, 0.3), drift_phase = random_double(&r);
    const double amplitude = 0.5 * pow(4, random_double(&r));
    const double offset = random_uniform(&r, -1, 1), trend = random_uniform(&r, -2, 2);
    const double slow = random_uniform(&r, 0, 1), slow_phase = random_double(&r);
    const double noise = random_uniform(&r, 0.05, 0.4);
    for (int t = 0; t < WAVES_LENGTH; t++) {
        const double at = (double)t / WAVES_LENGTH;
        const double turns = phase + cycles * at + drift * sin(2 * M_PI * (at + drift_phase));
        double x = form_at(form, turns - floor(turns));
        x += noise * random_normal(&r);
        x += slow * sin(2 * M_PI * (at + slow_phase)) + offset + trend * (at - 0.5);
        out[t] = (float)(amplitude * x);
    }
}
