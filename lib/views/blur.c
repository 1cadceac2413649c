#include "views/blur.h"

#include <math.h>
#include <string.h>

#include "views/weighted_sum.h"

int blur_kernel(int size)
{
    return size / 10 / 2 * 2 + 1;
}

/* A multiple of a cache line's floats: what begins behind so many is read in whole lines. */
static size_t whole_lines(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

size_t blur_scratch(int size, int kernel)
{
    const size_t s = (size_t)size, k = (size_t)kernel;
    return whole_lines(k) + whole_lines(s + k) + (s + k) * s;
}

/* Mirrors an index at the first and the last of n, which are not repeated. */
static int reflect(int i, int n)
{
    i = i < 0 ? -i : i;
    return i >= n ? 2 * (n - 1) - i : i;
}

/* Fills weights[kernel] and returns how many at either end are too small to matter: together they
 * change a value of [0,1] by less than 2^-25, half of float32's last place. */
static int make_weights(float *weights, int kernel, float sigma)
{
    double sum = 0;
    for (int k = 0; k < kernel; k++) {
        const double x = (k - kernel / 2) / (double)sigma;
        sum += exp(-0.5 * x * x);
    }
    int small = 0;
    for (int k = 0; k < kernel; k++) {
        const double x = (k - kernel / 2) / (double)sigma, weight = exp(-0.5 * x * x) / sum;
        weights[k] = (float)weight;
        small += k < kernel / 2 && weight * kernel < 0x1p-25;
    }
    return small;
}

void blur_gaussian(float *planes, int size, int kernel, float sigma, float *scratch)
{
    const size_t s = (size_t)size;
    float *weights = scratch, *row = weights + whole_lines((size_t)kernel);
    float *padded = row + whole_lines((size_t)(size + kernel));
    const int small = make_weights(weights, kernel, sigma);
    const int radius = kernel / 2 - small, taps = 2 * radius + 1;
    weights += small;
    for (int c = 0; c < 3; c++) {
        float *plane = planes + (size_t)c * s * s;
        for (int y = -radius; y < size + radius; y++) {
            const float *from = plane + (size_t)reflect(y, size) * s;
            memcpy(padded + (size_t)(y + radius) * s, from, s * sizeof *from);
        }
        for (int y = 0; y < size; y++) {
            weighted_sum(row + radius, s, weights, taps, padded + (size_t)y * s, s);
            for (int x = 0; x < radius; x++) {
                row[x] = row[radius + reflect(x - radius, size)];
                row[radius + size + x] = row[radius + reflect(size + x, size)];
            }
            weighted_sum(plane + (size_t)y * s, s, weights, taps, row, 1);
        }
    }
}
