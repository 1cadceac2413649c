#include "views/series.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "views/noise.h"

static const struct op_syntax operations[SERIES_OP_COUNT] = {
    [SERIES_CROP] =
        {"crop", {ARG_RANGE, ARG_PROBABILITY}, {.p = 1, .low = 0.5, .high = 1}, 1e-6, 1},
    [SERIES_CENTER] = {"center", {ARG_END}, {.p = 1}, 0, 0},
    [SERIES_JITTER] =
        {"jitter", {ARG_PROBABILITY, ARG_RANGE}, {.p = 0.8, .low = 0, .high = 0.3}, 0, 1e6},
    [SERIES_SCALING] =
        {"scaling", {ARG_PROBABILITY, ARG_RANGE}, {.p = 0.8, .low = 0.5, .high = 1.5}, 0, 1e6},
    [SERIES_TREND] = {"trend", {ARG_PROBABILITY, ARG_STRENGTH}, {.p = 0.8, .strength = 2}, 0, 1e6},
    [SERIES_MASK] =
        {"mask", {ARG_PROBABILITY, ARG_RANGE}, {.p = 0.5, .low = 0.1, .high = 0.3}, 0, 1},
    [SERIES_PERMUTATION] = {"permutation",
                            {ARG_PROBABILITY, ARG_COUNTS},
                            {.p = 0.5, .low = 2, .high = 4},
                            1,
                            POLICY_MAX_SEGMENTS},
};
static const struct named_policy policies[] = {
    {"simclr-series", "crop:0.5-1,scaling:0.8:0.5-1.5,trend:0.8:2,jitter:0.8:0-0.3"},
    {"eval", "center"},
};
const struct op_table series_ops = {operations, SERIES_OP_COUNT, policies,
                                    sizeof policies / sizeof policies[0]};

/* ---- drawing ---- */

/* A run of the share that an operation draws, anywhere in n steps. */
static struct box draw_run(const struct op *op, int n, int least, struct random *r)
{
    const double share = random_uniform(r, op->low, op->high);
    int length = (int)rint(n * share);
    if (length < least)
        length = least < n ? least : n;
    return (struct box){(int)random_below(r, (uint64_t)(n - length + 1)), 0, length, 1};
}

/* Cuts are different places inside the view, ascending; each set of them is as likely as any. */
static void draw_permutation(struct applied *a, const struct op *op, int size, struct random *r)
{
    const int low = (int)op->low, high = (int)op->high;
    int n = low + (int)random_below(r, (uint64_t)(high - low + 1));
    if (n > size)
        n = size;
    a->n_segments = n;
    a->cuts[0] = 0;
    /* Floyd's choice of n - 1 numbers out of 1 .. size-1, kept in order. */
    for (int i = 1; i < n; i++) {
        const int last = size - n + i;
        int cut = 1 + (int)random_below(r, (uint64_t)last), at = i;
        for (int k = 1; k < i; k++)
            if (a->cuts[k] == cut)
                cut = last;
        for (; a->cuts[at - 1] > cut; at--)
            a->cuts[at] = a->cuts[at - 1];
        a->cuts[at] = cut;
    }
    a->cuts[n] = size;
    random_permutation(r, a->order_of_segments, n);
}

void series_draw(struct view *view, const struct policy *policy, int length, int size,
                 struct random *r)
{
    view->n_ops = 0;
    view->reduction = 1;
    view->series = true;
    for (int i = 0; i < policy->n_ops; i++) {
        const struct op *op = &policy->ops[i];
        struct applied a = {.kind = op->kind, .box = {0, 0, length, 1}};
        const bool chosen = random_chance(r, op->p);
        if (!chosen && op->kind != SERIES_CROP)
            continue;
        switch ((enum series_op)op->kind) {
        case SERIES_CROP:
            if (chosen)
                a.box = draw_run(op, length, 2, r);
            break;
        case SERIES_JITTER:
            policy_draw_noise(&a, op, i, r);
            break;
        case SERIES_SCALING:
            a.factor = (float)random_uniform(r, op->low, op->high);
            break;
        case SERIES_TREND:
            a.offset = (float)random_uniform(r, -op->strength, op->strength);
            a.slope = (float)random_uniform(r, -op->strength, op->strength);
            break;
        case SERIES_MASK:
            a.box = draw_run(op, size, 0, r);
            break;
        case SERIES_PERMUTATION:
            draw_permutation(&a, op, size, r);
            break;
        case SERIES_CENTER:
        case SERIES_OP_COUNT:
            break;
        }
        view->ops[view->n_ops++] = a;
    }
}

/* ---- applying ---- */

static void resize(const float *x, struct box run, int channels, int size, float *out)
{
    const double step = size > 1 ? (double)(run.w - 1) / (size - 1) : 0;
    for (int i = 0; i < size; i++) {
        const double at = i * step;
        const int left = (int)at < run.w - 1 ? (int)at : run.w - 1;
        const int right = left < run.w - 1 ? left + 1 : left;
        const double share = at - left;
        const float *a = x + (size_t)(run.x + left) * (size_t)channels;
        const float *b = x + (size_t)(run.x + right) * (size_t)channels;
        for (int c = 0; c < channels; c++)
            *out++ = (float)((1 - share) * (double)a[c] + share * (double)b[c]);
    }
}

static void add_line(const struct applied *a, int size, int channels, float *x)
{
    const float step = size > 1 ? 1 / (float)(size - 1) : 0;
    for (int i = 0; i < size; i++) {
        const float line = a->offset + a->slope * ((float)i * step - 0.5f);
        for (int c = 0; c < channels; c++)
            *x++ += line;
    }
}

static void permute(const struct applied *a, size_t channels, const float *from, float *to)
{
    for (int i = 0; i < a->n_segments; i++) {
        const int64_t k = a->order_of_segments[i];
        const size_t n = (size_t)(a->cuts[k + 1] - a->cuts[k]) * channels;
        memcpy(to, from + (size_t)a->cuts[k] * channels, n * sizeof *to);
        to += n;
    }
}

static int reserve(struct view_memory *memory, size_t n)
{
    if (n <= memory->count)
        return 0;
    float *floats = reallocarray(memory->floats, n, sizeof *floats);
    if (!floats)
        return fail("out of memory for a series of %zu values", n);
    *memory = (struct view_memory){floats, n};
    return 0;
}

int series_apply(const struct view *view, const float *x, int channels, int size,
                 struct view_memory *memory, float *out)
{
    const size_t c = (size_t)channels, n = (size_t)size * c;
    if (reserve(memory, n))
        return -1;
    for (int i = 0; i < view->n_ops; i++) {
        const struct applied *a = &view->ops[i];
        switch ((enum series_op)a->kind) {
        case SERIES_CROP:
        case SERIES_CENTER:
            resize(x, a->box, channels, size, out);
            break;
        case SERIES_JITTER:
            noise_add_series(out, n, a->sigma, a->counter, a->key);
            break;
        case SERIES_SCALING:
            for (size_t k = 0; k < n; k++)
                out[k] *= a->factor;
            break;
        case SERIES_TREND:
            add_line(a, size, channels, out);
            break;
        case SERIES_MASK:
            memset(out + (size_t)a->box.x * c, 0, (size_t)a->box.w * c * sizeof *out);
            break;
        case SERIES_PERMUTATION:
            memcpy(memory->floats, out, n * sizeof *out);
            permute(a, c, memory->floats, out);
            break;
        case SERIES_OP_COUNT:
            break;
        }
    }
    return 0;
}
