#include "views/sobel.h"

#include <math.h>
#include <string.h>

#include "base/multiversion.h"

size_t sobel_scratch(int size)
{
    const size_t padded = (size_t)size + 2;
    return padded * padded;
}

/* padded (size+2,size+2) of one plane: its border repeated. */
static void pad(const float *plane, size_t size, float *padded)
{
    for (size_t y = 0; y < size + 2; y++, padded += size + 2) {
        const size_t from = y == 0 ? 0 : y > size ? size - 1 : y - 1;
        memcpy(padded + 1, plane + from * size, size * sizeof *plane);
        padded[0] = padded[1];
        padded[size + 1] = padded[size];
    }
}

/* a, b and c are rows of n+2: above, at and below the row that is written. */
MULTIVERSION
static void magnitudes(const float *restrict a, const float *restrict b, const float *restrict c,
                       size_t n, float *restrict out)
{
    for (size_t x = 0; x < n; x++) {
        const float gx = (a[x + 2] - a[x]) + 2 * (b[x + 2] - b[x]) + (c[x + 2] - c[x]);
        const float gy = (c[x] - a[x]) + 2 * (c[x + 1] - a[x + 1]) + (c[x + 2] - a[x + 2]);
        const float magnitude = sqrtf(gx * gx + gy * gy) * 0.25f;
        out[x] = magnitude > 1 ? 1 : magnitude;
    }
}

void sobel_magnitude(float *planes, int size, float *scratch)
{
    const size_t s = (size_t)size, stride = s + 2;
    for (size_t c = 0; c < 3; c++) {
        float *plane = planes + c * s * s;
        pad(plane, s, scratch);
        for (size_t y = 0; y < s; y++) {
            const float *row = scratch + y * stride;
            magnitudes(row, row + stride, row + 2 * stride, s, plane + y * s);
        }
    }
}
