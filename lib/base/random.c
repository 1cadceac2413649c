#include "base/random.h"

#include <assert.h>
#include <math.h>

void random_start(struct random *r, uint64_t seed, enum random_purpose purpose, uint32_t epoch,
                  uint32_t index, uint32_t view)
{
    assert(view < 1u << 24);
    *r = (struct random){
        .key = {(uint32_t)seed, (uint32_t)(seed >> 32)},
        .counter = {0, epoch, index, (uint32_t)purpose << 24 | view},
        .used = 4,
    };
}

struct random random_other(const struct random *r, enum random_purpose purpose)
{
    struct random other = *r;
    other.counter[0] = 0;
    other.counter[3] = (uint32_t)purpose << 24 | (r->counter[3] & 0xffffff);
    other.used = 4;
    return other;
}

uint32_t random_u32(struct random *r)
{
    if (r->used == 4) {
        random_philox(r->counter, r->key, r->block);
        r->counter[0]++;
        r->used = 0;
    }
    return r->block[r->used++];
}

static uint64_t random_u64(struct random *r)
{
    const uint64_t high = random_u32(r);
    return high << 32 | random_u32(r);
}

float random_float(struct random *r)
{
    return (float)(random_u32(r) >> 8) * 0x1p-24f;
}

double random_double(struct random *r)
{
    return (double)(random_u64(r) >> 11) * 0x1p-53;
}

double random_uniform(struct random *r, double low, double high)
{
    return low + (high - low) * random_double(r);
}

bool random_chance(struct random *r, double p)
{
    return random_double(r) < p;
}

uint64_t random_below(struct random *r, uint64_t n)
{
    assert(n > 0);
    /* The lowest 2^64 mod n values would make some remainders likelier, so they are drawn again. */
    const uint64_t excess = -n % n;
    uint64_t u;
    do
        u = random_u64(r);
    while (u < excess);
    return u % n;
}

double random_normal(struct random *r)
{
    /* This is the Box-Muller transform. The second number of the pair is discarded, so that a
     * stream has no hidden state. */
    const double radius = sqrt(-2.0 * log(1.0 - random_double(r)));
    return radius * cos(2.0 * M_PI * random_double(r));
}

double random_truncated_normal(struct random *r)
{
    double x;
    do
        x = random_normal(r);
    while (fabs(x) > 2.0);
    return x;
}

void random_permutation(struct random *r, int64_t *out, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t j = (int64_t)random_below(r, (uint64_t)i + 1);
        out[i] = out[j];
        out[j] = i;
    }
}
