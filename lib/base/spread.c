#include "base/spread.h"

#include <math.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/multiversion.h"
#include "base/squares.h"

/* The columns are independent of each other, so a loop over them is a vector operation. Sums over
 * columns are divided into LANES partial sums, whose number fixes their order. */
enum { LANES = 16 };

/* Computes sum += u for a row u = z scale. */
MULTIVERSION static void add(double *restrict sum, const float *restrict z, double scale, int64_t d)
{
    for (int64_t k = 0; k < d; k++)
        sum[k] += (double)z[k] * scale;
}

/* Adds the row's squared deviations from the mean to squares (d). */
MULTIVERSION static void add_squares(double *restrict squares, const double *restrict mean,
                                     const float *restrict z, double scale, int64_t d)
{
    for (int64_t k = 0; k < d; k++) {
        const double far = (double)z[k] * scale - mean[k];
        squares[k] += far * far;
    }
}

/* Returns |u - mean|^2 for a row u = z scale. */
MULTIVERSION static double distance(const float *restrict z, double scale,
                                    const double *restrict mean, int64_t d)
{
    double lanes[LANES] = {0}, sum = 0;
    int64_t k = 0;
    for (; k + LANES <= d; k += LANES)
        for (int64_t l = 0; l < LANES; l++) {
            const double far = (double)z[k + l] * scale - mean[k + l];
            lanes[l] += far * far;
        }
    for (int64_t l = 0; k < d; k++, l++) {
        const double far = (double)z[k] * scale - mean[k];
        lanes[l] += far * far;
    }
    for (int64_t l = 0; l < LANES; l++)
        sum += lanes[l];
    return sum;
}

/* Sets mean (d) to that of n rows. */
static void find_mean(double *mean, const float *z, const double *scale, int64_t n, int64_t d)
{
    for (int64_t k = 0; k < d; k++)
        mean[k] = 0;
    for (int64_t i = 0; i < n; i++)
        add(mean, z + i * d, scale[i], d);
    for (int64_t k = 0; k < d; k++)
        mean[k] /= (double)n;
}

static double measure_deviation(const float *z, const double *scale, int64_t n, int64_t d,
                                double *mean, double *squares)
{
    double sum = 0;
    find_mean(mean, z, scale, n, d);
    for (int64_t k = 0; k < d; k++)
        squares[k] = 0;
    for (int64_t i = 0; i < n; i++)
        add_squares(squares, mean, z + i * d, scale[i], d);
    for (int64_t k = 0; k < d; k++)
        sum += sqrt(squares[k] / (double)n);
    return sum / sqrt((double)d);
}

/* For the v views of an image, the sum of |u_a - u_b|^2 over pairs is v times the sum of the
 * squared distances from their mean. */
static double measure_alignment(const float *z, const double *scale, int64_t n, int64_t d,
                                int64_t views, double *mean)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i += views) {
        find_mean(mean, z + i * d, scale + i, views, d);
        for (int64_t v = i; v < i + views; v++)
            sum += distance(z + v * d, scale[v], mean, d);
    }
    return sum * 2 / (double)(views - 1) / (double)(n / views);
}

int spread_measure(const float *z, int64_t n, int64_t d, int64_t views, struct spread *out)
{
    double *memory = calloc((size_t)n + 2 * (size_t)d, sizeof *memory);
    if (!memory)
        return fail("out of memory for the spread of %lld rows", (long long)n);
    double *scale = memory, *mean = memory + n, *squares = mean + d;
    for (int64_t i = 0; i < n; i++)
        scale[i] = 1 / fmax(sqrt(squares_sum(z + i * d, (size_t)d)), 1e-12);
    out->z_std = measure_deviation(z, scale, n, d, mean, squares);
    out->alignment = views > 1 ? measure_alignment(z, scale, n, d, views, mean) : NAN;
    free(memory);
    return 0;
}
