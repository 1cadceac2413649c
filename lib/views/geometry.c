#include "views/geometry.h"

#include <string.h>

#include "base/multiversion.h"

/* Each value of left[n] changes places with the one of right[n] that is as far from the end. */
MULTIVERSION
static void swap_reversed(float *restrict left, float *restrict right, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const float t = left[i];
        left[i] = right[n - 1 - i];
        right[n - 1 - i] = t;
    }
}

void geometry_flip(float *planes, int size)
{
    const size_t s = (size_t)size, half = s / 2;
    for (float *row = planes; row < planes + 3 * s * s; row += s)
        swap_reversed(row, row + s - half, half);
}

void geometry_rotate(float *planes, int size, int quarters, float *scratch)
{
    const ptrdiff_t s = size, last = s - 1;
    /* Output (y, x) comes from offset + y * down + x * right. */
    const ptrdiff_t down[] = {s, -1, -s, 1}, right[] = {1, s, -1, -s};
    const ptrdiff_t start[] = {0, last, s * s - 1, last * s};
    for (int c = 0; c < 3; c++) {
        float *plane = planes + c * s * s;
        for (ptrdiff_t y = 0; y < s; y++)
            for (ptrdiff_t x = 0; x < s; x++)
                scratch[y * s + x] =
                    plane[start[quarters] + y * down[quarters] + x * right[quarters]];
        memcpy(plane, scratch, (size_t)(s * s) * sizeof *plane);
    }
}

void geometry_cutout(float *planes, int size, struct box box)
{
    for (int c = 0; c < 3; c++)
        for (int y = box.y; y < box.y + box.h; y++) {
            float *row = planes + ((size_t)c * (size_t)size + (size_t)y) * (size_t)size;
            for (int x = box.x; x < box.x + box.w; x++)
                row[x] = 0.5f;
        }
}
