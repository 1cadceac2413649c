#include "data/sampler.h"

#include <assert.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/random.h"

enum { DEFAULT_GRAINS = 8 };

static int64_t largest_grains(int64_t rows, int64_t limit)
{
    int64_t grains = limit;
    while (rows % grains != 0)
        grains /= 2;
    return grains;
}

int sampler_check(struct sampler *b)
{
    if (b->grains == 0)
        b->grains = largest_grains(b->batch, DEFAULT_GRAINS);
    if ((b->grains & (b->grains - 1)) != 0)
        return fail("%lld grains: not a power of two", (long long)b->grains);
    if (b->batch % b->grains != 0)
        return fail("%lld grains do not divide a batch of %lld", (long long)b->grains,
                    (long long)b->batch);
    if (!b->evaluation && b->world > b->batch)
        return fail("a batch of %lld cannot be cut for %lld ranks", (long long)b->batch,
                    (long long)b->world);
    return 0;
}

static int count_steps(struct sampler *b)
{
    b->steps_per_epoch = b->images / b->batch + (b->evaluation && b->images % b->batch != 0);
    if (b->steps_per_epoch == 0)
        return fail("%lld images are too few for a batch of %lld", (long long)b->images,
                    (long long)b->batch);
    if (b->steps == 0 && __builtin_mul_overflow(b->epochs, b->steps_per_epoch, &b->steps))
        return fail("%lld epochs are more steps than can be counted", (long long)b->epochs);
    /* Epochs and images are 32-bit parts of a random stream's name. */
    if ((b->steps - 1) / b->steps_per_epoch > UINT32_MAX || b->images > UINT32_MAX)
        return fail("more than %lld epochs or images", (long long)UINT32_MAX);
    return 0;
}

int sampler_init(struct sampler *b)
{
    assert(b->batch > 0 && b->images > 0 && b->epochs >= 0 && b->steps >= 0);
    b->order = NULL;
    b->order_epoch = -1;
    if (count_steps(b))
        return -1;
    if (b->evaluation)
        return 0;
    b->order = malloc((size_t)b->images * sizeof *b->order);
    return b->order ? 0 : fail("out of memory for the order of %lld images", (long long)b->images);
}

void sampler_free(struct sampler *b)
{
    free(b->order);
    b->order = NULL;
}

/* floor(rank * rows / world) without the overflow. */
static int64_t boundary(int64_t rank, int64_t rows, int64_t world)
{
    return rank * (rows / world) + rank * (rows % world) / world;
}

void sampler_get(struct sampler *b, int64_t step, struct batch *out)
{
    assert(step >= 0 && step < b->steps);
    const int64_t start = step % b->steps_per_epoch * b->batch;
    *out = (struct batch){.step = step, .epoch = step / b->steps_per_epoch, .start = start};
    out->rows = b->images - start < b->batch ? b->images - start : b->batch;
    out->grains = largest_grains(out->rows, b->grains);
    out->first = boundary(b->rank, out->rows, b->world);
    out->count = boundary(b->rank + 1, out->rows, b->world) - out->first;
    if (b->order && b->order_epoch != out->epoch) {
        struct random r;
        random_start(&r, b->seed, RANDOM_SHUFFLE, (uint32_t)out->epoch, 0, 0);
        random_permutation(&r, b->order, b->images);
        b->order_epoch = out->epoch;
    }
}

void sampler_shorten(struct batch *batch, int64_t rows)
{
    batch->rows = batch->count = rows;
    batch->grains = largest_grains(rows, batch->grains);
}

int64_t sampler_image(const struct sampler *b, int64_t place)
{
    const int64_t at = b->order ? b->order[place] : place;
    return b->chosen ? b->chosen[at] : at;
}
