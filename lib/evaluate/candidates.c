#include "evaluate/candidates.h"

#include <string.h>

#include "base/grow.h"

/* Returns the bits of a float in the order of floats. */
static uint32_t ordered(float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

/* Returns the k-th largest of n values, digit by digit from the highest one on. */
static float kth_largest(const float *v, int64_t n, int64_t k)
{
    uint32_t prefix = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
        int64_t count[256] = {0};
        const uint32_t above = shift == 24 ? 0 : 0xffffffffu << (shift + 8);
        for (int64_t i = 0; i < n; i++) {
            const uint32_t bits = ordered(v[i]);
            count[bits >> shift & 255] += (bits & above) == prefix;
        }
        int digit = 255;
        for (; k > count[digit]; digit--)
            k -= count[digit];
        prefix |= (uint32_t)digit << shift;
    }
    const uint32_t bits = prefix & 0x80000000u ? prefix & 0x7fffffffu : ~prefix;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

void candidates_prune(struct candidates *c, int64_t k)
{
    c->threshold = kth_largest(c->rough, c->count, k) - c->margin;
    int64_t kept = 0;
    for (int64_t i = 0; i < c->count; i++) {
        c->rough[kept] = c->rough[i];
        c->list[kept] = c->list[i];
        kept += c->rough[i] >= c->threshold;
    }
    c->count = kept;
}

int candidates_make_room(struct candidates *c, int64_t k)
{
    if (c->count)
        candidates_prune(c, k);
    if (c->count < c->capacity / 2)
        return 0;
    int64_t capacity = c->capacity, same = c->capacity;
    float *rough = grow(c->rough, capacity, &same, sizeof *rough);
    if (rough)
        c->rough = rough;
    struct neighbour *list = rough ? grow(c->list, capacity, &capacity, sizeof *list) : NULL;
    if (!list)
        return -1;
    c->list = list;
    c->capacity = capacity;
    return 0;
}
