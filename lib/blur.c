#include "blur.h"

#include <math.h>
#include <string.h>

#include "clones.h"

int blur_kernel(int size)
{
    return size / 10 / 2 * 2 + 1;
}

size_t blur_scratch(int size, int kernel)
{
    const size_t s = (size_t)size, k = (size_t)kernel;
    return k + (s + k) + (s + k) * s;
}

/* Mirrors an index at the first and the last of n, which are not repeated. */
static int reflect(int i, int n)
{
    i = i < 0 ? -i : i;
    return i >= n ? 2 * (n - 1) - i : i;
}

/* out[x] = sum over k of weights[k] * in[k * stride + x]. */
CLONES
static void weighted_sum(float *restrict out, int n, const float *restrict weights, int kernel,
                         const float *restrict in, size_t stride)
{
    enum { LANES = 16 };
    int x = 0;
    for (; x + LANES <= n; x += LANES) {
        float sums[LANES] = {0};
        for (int k = 0; k < kernel; k++)
            for (int lane = 0; lane < LANES; lane++)
                sums[lane] += weights[k] * in[(size_t)k * stride + (size_t)(x + lane)];
        memcpy(out + x, sums, sizeof sums);
    }
    for (; x < n; x++) {
        float sum = 0;
        for (int k = 0; k < kernel; k++)
            sum += weights[k] * in[(size_t)k * stride + (size_t)x];
        out[x] = sum;
    }
}

static void make_weights(float *weights, int kernel, float sigma)
{
    double sum = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int k = 0; k < kernel; k++) {
            const double x = (k - kernel / 2) / (double)sigma, w = exp(-0.5 * x * x);
            if (pass == 0)
                sum += w;
            else
                weights[k] = (float)(w / sum);
        }
}

void blur_gaussian(float *planes, int size, int kernel, float sigma, float *scratch)
{
    const int radius = kernel / 2;
    const size_t s = (size_t)size;
    float *weights = scratch, *row = weights + kernel, *padded = row + size + kernel;
    make_weights(weights, kernel, sigma);
    for (int c = 0; c < 3; c++) {
        float *plane = planes + (size_t)c * s * s;
        for (int y = -radius; y < size + radius; y++) {
            const float *from = plane + (size_t)reflect(y, size) * s;
            memcpy(padded + (size_t)(y + radius) * s, from, s * sizeof *from);
        }
        for (int y = 0; y < size; y++) {
            weighted_sum(row + radius, size, weights, kernel, padded + (size_t)y * s, s);
            for (int x = 0; x < radius; x++) {
                row[x] = row[radius + reflect(x - radius, size)];
                row[radius + size + x] = row[radius + reflect(size + x, size)];
            }
            weighted_sum(plane + (size_t)y * s, size, weights, kernel, row, 1);
        }
    }
}
