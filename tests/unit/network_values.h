/* network_values: numbers for networks under test that are the same on every machine. Each is a
 * function of a name and an index, as in fill() of tests/golden/network.py. */
#ifndef NETWORK_VALUES_H
#define NETWORK_VALUES_H

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "network/parameters.h"

/* Returns number i of a key, from -1 to 1. */
static inline float unit(uint32_t key, size_t i)
{
    uint32_t h = (uint32_t)i * 0x9E3779B1U + key;
    h = (h ^ h >> 16) * 0x85EBCA6BU;
    h = (h ^ h >> 13) * 0xC2B2AE35U;
    h ^= h >> 16;
    return (float)((double)(h >> 8) / (1 << 23) - 1);
}

static inline uint32_t key_of(const char *name)
{
    return (uint32_t)crc32(0, (const Bytef *)name, (uInt)strlen(name));
}

/* Returns n numbers of that name, which the caller frees. */
static inline float *filled(const char *name, size_t n)
{
    float *v = malloc((n ? n : 1) * sizeof *v);
    if (!v)
        abort();
    const uint32_t key = key_of(name);
    for (size_t i = 0; i < n; i++)
        v[i] = unit(key, i);
    return v;
}

static inline bool ends(const char *name, const char *with)
{
    const size_t n = strlen(name), w = strlen(with);
    return n >= w && !strcmp(name + n - w, with);
}

static inline bool is_identity(const struct parameter *a)
{
    return !strcmp(a->name, "identity.weight");
}

/* Scales weights by fan-in, and sets biases that keep most values above the ReLUs' kinks. */
static inline void fill_parameters(struct parameters *p)
{
    for (int i = 0; i < p->n; i++) {
        struct parameter *a = &p->list[i];
        if (a->type != PARAMETER_FLOAT)
            continue;
        const double fan_in = (double)a->count / (double)(a->ndim ? a->shape[0] : 1);
        const uint32_t key = key_of(a->name);
        double mean = 0, width = 1;
        if (a->ndim > 1)
            width = sqrt(6 / fan_in);
        else if (ends(a->name, "running_mean") || !strcmp(a->name, "bn1.bias"))
            width = 0.25;
        else if (ends(a->name, "bias"))
            mean = 1.5, width = 0.5;
        else
            mean = ends(a->name, "bn3.weight") ? 0.5 : 1, width = 0.25 * mean;
        const bool identity = is_identity(a);
        for (size_t j = 0; j < a->count; j++)
            ((float *)a->value)[j] = identity ? j % (size_t)(a->shape[1] + 1) == 0
                                              : (float)(mean + width * (double)unit(key, j));
    }
}

#endif
