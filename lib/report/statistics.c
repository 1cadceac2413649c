#include "report/statistics.h"

#include <math.h>

#include "base/half.h"
#include "base/multiversion.h"

enum { LANES = 16, BLOCK = 4096 };

struct sums {
    double sum;
    float min, max;
    size_t nan, inf;
};

/* Adds n elements, at most BLOCK, to the total. Each lane has its own sums, so that the compiler
 * can use vector units without reordering a sum. Lanes without an element hold NaN, and are
 * subtracted from the number of NaNs. */
MULTIVERSION
static void sum_floats(const float *x, size_t n, struct sums *total)
{
    double sum[LANES] = {0};
    float min[LANES], max[LANES];
    int nan[LANES] = {0}, inf[LANES] = {0};
    for (int l = 0; l < LANES; l++) {
        min[l] = INFINITY;
        max[l] = -INFINITY;
    }
    for (size_t i = 0; i < n; i += LANES) {
        float last[LANES];
        const float *row = x + i;
        if (n - i < LANES) {
            for (int l = 0; l < LANES; l++)
                last[l] = (size_t)l < n - i ? row[l] : NAN;
            row = last;
            total->nan -= LANES - (n - i);
        }
        for (int l = 0; l < LANES; l++) {
            float v = row[l];
            int is_nan = v != v, is_inf = fabsf(v) == INFINITY, finite = !(is_nan | is_inf);
            nan[l] += is_nan;
            inf[l] += is_inf;
            sum[l] += finite ? (double)v : 0.0;
            min[l] = finite && v < min[l] ? v : min[l];
            max[l] = finite && v > max[l] ? v : max[l];
        }
    }
    for (int l = 0; l < LANES; l++) {
        total->sum += sum[l];
        total->min = min[l] < total->min ? min[l] : total->min;
        total->max = max[l] > total->max ? max[l] : total->max;
        total->nan += (size_t)nan[l];
        total->inf += (size_t)inf[l];
    }
}

static void of_floats(const struct tensor *t, struct statistics *s)
{
    struct sums total = {.min = INFINITY, .max = -INFINITY};
    float widened[BLOCK];
    for (size_t at = 0; at < s->count; at += BLOCK) {
        size_t n = s->count - at < BLOCK ? s->count - at : BLOCK;
        const float *x = widened;
        if (t->dtype == DTYPE_F32)
            x = (const float *)t->data + at;
        else if (t->dtype == DTYPE_BF16)
            half_widen_bf16((const uint16_t *)t->data + at, widened, n);
        else
            half_widen_f16((const uint16_t *)t->data + at, widened, n);
        sum_floats(x, n, &total);
    }
    s->nan = total.nan;
    s->inf = total.inf;
    size_t finite = s->count - s->nan - s->inf;
    s->min = finite ? (double)total.min : NAN;
    s->max = finite ? (double)total.max : NAN;
    s->mean = finite ? total.sum / (double)finite : NAN;
}

#define DEFINE_INTEGERS(NAME, TYPE, SUM)                                                           \
    MULTIVERSION static void NAME(const struct tensor *t, struct statistics *s)                    \
    {                                                                                              \
        const TYPE *x = t->data;                                                                   \
        TYPE min = x[0], max = x[0];                                                               \
        SUM sum = 0;                                                                               \
        for (size_t i = 0; i < s->count; i++) {                                                    \
            min = x[i] < min ? x[i] : min;                                                         \
            max = x[i] > max ? x[i] : max;                                                         \
            sum += x[i];                                                                           \
        }                                                                                          \
        s->int_min = min;                                                                          \
        s->int_max = max;                                                                          \
        s->mean = (double)sum / (double)s->count;                                                  \
    }
DEFINE_INTEGERS(of_u8, uint8_t, uint64_t)
DEFINE_INTEGERS(of_i32, int32_t, int64_t)
DEFINE_INTEGERS(of_i64, int64_t, __int128)

struct statistics statistics_of(const struct tensor *t)
{
    struct statistics s = {.count = tensor_count(t), .min = NAN, .max = NAN, .mean = NAN};
    s.integer = t->dtype == DTYPE_U8 || t->dtype == DTYPE_I32 || t->dtype == DTYPE_I64;
    if (s.count == 0)
        return s;
    if (t->dtype == DTYPE_U8)
        of_u8(t, &s);
    else if (t->dtype == DTYPE_I32)
        of_i32(t, &s);
    else if (t->dtype == DTYPE_I64)
        of_i64(t, &s);
    else
        of_floats(t, &s);
    return s;
}
