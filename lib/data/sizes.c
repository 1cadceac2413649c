#include "data/sizes.h"

bool sizes_wants(struct sizes *s)
{
    if (s->seen % s->stride != 0)
        return false;
    if (s->n == SIZES_SAMPLE) { /* every other one is enough, and this image is one of them */
        for (int i = 0; i < SIZES_SAMPLE / 2; i++)
            s->sides[i] = s->sides[2 * i];
        s->n = SIZES_SAMPLE / 2;
        s->stride *= 2;
    }
    return true;
}

void sizes_pass(struct sizes *s)
{
    s->seen++;
}

void sizes_add(struct sizes *s, int width, int height)
{
    s->sides[s->n++] = !width ? -1 : width == height && width <= SIZES_SMALL ? width : 0;
    s->seen++;
}

int sizes_most(const struct sizes *s, int *agree, int *looked_at)
{
    int counts[SIZES_SMALL + 1] = {0}, most = 0;
    *looked_at = 0;
    for (int i = 0; i < s->n; i++)
        if (s->sides[i] >= 0) {
            counts[s->sides[i]]++;
            ++*looked_at;
        }
    for (int side = SIZES_SMALL; side > 0; side--)
        if (counts[side] > counts[most])
            most = side;
    *agree = counts[most];
    return most;
}
