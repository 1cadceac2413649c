#include "data/size_sample.h"

bool size_sample_wants(struct size_sample *s)
{
    if (s->seen % s->stride != 0)
        return false;
    if (s->n == SIZE_SAMPLE_IMAGES) { /* keep every other one; this image is one of them */
        for (int i = 0; i < SIZE_SAMPLE_IMAGES / 2; i++)
            s->sides[i] = s->sides[2 * i];
        s->n = SIZE_SAMPLE_IMAGES / 2;
        s->stride *= 2;
    }
    return true;
}

void size_sample_skip(struct size_sample *s)
{
    s->seen++;
}

void size_sample_add(struct size_sample *s, int width, int height)
{
    s->sides[s->n++] = !width ? -1 : width == height && width <= SIZE_SAMPLE_SMALL ? width : 0;
    s->seen++;
}

int size_sample_most(const struct size_sample *s, int *agree, int *looked_at)
{
    int counts[SIZE_SAMPLE_SMALL + 1] = {0}, most = 0;
    *looked_at = 0;
    for (int i = 0; i < s->n; i++)
        if (s->sides[i] >= 0) {
            counts[s->sides[i]]++;
            ++*looked_at;
        }
    for (int side = SIZE_SAMPLE_SMALL; side > 0; side--)
        if (counts[side] > counts[most])
            most = side;
    *agree = counts[most];
    return most;
}
