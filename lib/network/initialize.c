#include "network/initialize.h"

#include <math.h>
#include <string.h>
#include <zlib.h>

#include "base/random.h"

/* The standard deviation of a standard normal distribution that is truncated at -2 and 2. */
static const double truncated_std = 0.87962566103423978;

static void draw(struct parameter *a, uint64_t seed)
{
    struct random r;
    float *v = a->value;
    const uint32_t key = (uint32_t)crc32(0, (const Bytef *)a->name, (uInt)strlen(a->name));
    random_start(&r, seed, RANDOM_INIT, 0, key, 0);
    if (a->start == START_NORMAL) {
        for (size_t i = 0; i < a->count; i++)
            v[i] = (float)(0.01 * random_normal(&r));
        return;
    }
    const double fan_in = (double)a->count / (double)a->shape[0];
    const double scale = sqrt(1 / fan_in) / truncated_std;
    for (size_t i = 0; i < a->count; i++)
        v[i] = (float)(scale * random_truncated_normal(&r));
}

void initialize_parameters(struct parameters *p, uint64_t seed)
{
    /* Each parameter has random numbers of its own; the largest ones are the last. */
#pragma omp parallel for schedule(dynamic)
    for (int i = p->n - 1; i >= 0; i--) {
        struct parameter *a = &p->list[i];
        if (a->start == START_FAN_IN || a->start == START_NORMAL) {
            draw(a, seed);
        } else {
            memset(a->value, 0, parameters_bytes(a));
            if (a->start == START_ONE)
                for (size_t j = 0; j < a->count; j++)
                    ((float *)a->value)[j] = 1;
        }
    }
}
