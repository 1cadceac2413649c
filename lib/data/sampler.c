#include "data/sampler.h"

#include <assert.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/random.h"

enum { DEFAULT_GRAINS = 8 };

/* Returns the largest number of grains that divides the rows, out of limit, limit / 2, limit / 4,
 * .... */
static int64_t largest_grains(int64_t rows, int64_t limit)
{
    int64_t grains = limit;
    while (rows % grains != 0)
        grains /= 2;
    return grains;
}

int sampler_check(struct sampler *s)
{
    if (s->grains == 0)
        s->grains = largest_grains(s->batch, DEFAULT_GRAINS);
    if ((s->grains & (s->grains - 1)) != 0)
        return fail("%lld grains: not a power of two", (long long)s->grains);
    if (s->batch % s->grains != 0)
        return fail("%lld grains do not divide a batch of %lld", (long long)s->grains,
                    (long long)s->batch);
    if (!s->evaluation && s->world > s->batch)
        return fail("a batch of %lld cannot be cut for %lld ranks", (long long)s->batch,
                    (long long)s->world);
    return 0;
}

static int count_steps(struct sampler *s)
{
    s->steps_per_epoch = s->images / s->batch + (s->evaluation && s->images % s->batch != 0);
    if (s->steps_per_epoch == 0)
        return fail("%lld images are too few for a batch of %lld", (long long)s->images,
                    (long long)s->batch);
    if (s->steps == 0 && __builtin_mul_overflow(s->epochs, s->steps_per_epoch, &s->steps))
        return fail("%lld epochs are more steps than can be counted", (long long)s->epochs);
    /* A random stream's name contains the epoch and the image, in 32 bits each. */
    if ((s->steps - 1) / s->steps_per_epoch > UINT32_MAX || s->images > UINT32_MAX)
        return fail("more than %lld epochs or images", (long long)UINT32_MAX);
    return 0;
}

int sampler_init(struct sampler *s)
{
    assert(s->batch > 0 && s->images > 0 && s->epochs >= 0 && s->steps >= 0);
    s->order = NULL;
    s->order_epoch = -1;
    if (count_steps(s))
        return -1;
    if (s->evaluation)
        return 0;
    s->order = malloc((size_t)s->images * sizeof *s->order);
    return s->order ? 0 : fail("out of memory for the order of %lld images", (long long)s->images);
}

void sampler_free(struct sampler *s)
{
    free(s->order);
    s->order = NULL;
}

/* Returns floor(rank * rows / world), without an overflow. */
static int64_t boundary(int64_t rank, int64_t rows, int64_t world)
{
    return rank * (rows / world) + rank * (rows % world) / world;
}

void sampler_get(struct sampler *s, int64_t step, struct batch *out)
{
    assert(step >= 0 && step < s->steps);
    const int64_t start = step % s->steps_per_epoch * s->batch;
    *out = (struct batch){.step = step, .epoch = step / s->steps_per_epoch, .start = start};
    out->rows = s->images - start < s->batch ? s->images - start : s->batch;
    out->grains = largest_grains(out->rows, s->grains);
    out->first = boundary(s->rank, out->rows, s->world);
    out->count = boundary(s->rank + 1, out->rows, s->world) - out->first;
    if (s->order && s->order_epoch != out->epoch) {
        struct random r;
        random_start(&r, s->seed, RANDOM_SHUFFLE, (uint32_t)out->epoch, 0, 0);
        random_permutation(&r, s->order, s->images);
        s->order_epoch = out->epoch;
    }
}

void sampler_shorten(struct batch *batch, int64_t rows)
{
    batch->rows = batch->count = rows;
    batch->grains = largest_grains(rows, batch->grains);
}

int64_t sampler_image(const struct sampler *s, int64_t place)
{
    const int64_t at = s->order ? s->order[place] : place;
    return s->chosen ? s->chosen[at] : at;
}
