/* clamp: values of pixels stay in [0,1]. */
#ifndef CLAMP_H
#define CLAMP_H

static inline float clamp01(float x)
{
    x = x < 0 ? 0 : x;
    return x > 1 ? 1 : x;
}

#endif
