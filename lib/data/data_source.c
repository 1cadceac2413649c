#include "data/data_source.h"

#include <string.h>

#include "base/fail.h"
#include "base/warn.h"

/* Bytes that a shuffle buffer may have, however small the cache is. */
enum { MIN_BUFFER = 256 << 20 };

/* A stream that comes once has one epoch, and somebody has to say how much of it to take. */
static int count_once(struct data_source *s)
{
    struct sampler *b = &s->batches;
    const int64_t limit = s->wish.limit;
    if (s->epochs_given && b->epochs > 1)
        return fail("%s: more than --cache holds, and it comes once: not --epochs %lld", s->data,
                    (long long)b->epochs);
    b->epochs = 1;
    if (!limit && !b->steps)
        return fail("%s: more than --cache holds: --steps or --limit has to say how much of it to "
                    "take",
                    s->data);
    if (limit)
        b->images = limit;
    else if (__builtin_mul_overflow(b->steps, b->batch, &b->images))
        return fail("--steps %lld: more images than can be counted", (long long)b->steps);
    return 0;
}

static int choose_of_stream(struct data_source *s)
{
    const struct subset_wish *w = &s->wish;
    struct sampler *b = &s->batches;
    if (w->hold > 0 || w->labels < 1 || w->labels_per_class)
        return fail(
            "%s: a stream, whose images are not found by their numbers: %s cannot be chosen "
            "(a larger --cache may hold it)",
            s->data, w->hold > 0 ? "images to hold back" : "labels");
    b->images = dataset_count(s->set);
    if (b->images < 0)
        return count_once(s);
    if (w->limit && w->limit < b->images) {
        warn_line("%s: a stream: --limit %lld takes its first %lld images, in whatever order "
                  "they lie (a larger --cache may hold it)",
                  s->data, (long long)w->limit, (long long)w->limit);
        b->images = w->limit;
    }
    return 0;
}

/* Which images an epoch is made of. */
static int choose_images(struct data_source *s)
{
    struct sampler *b = &s->batches;
    if (dataset_is_stream(s->set))
        return choose_of_stream(s);
    if (subset_choose(&s->subset, s->set, &s->wish))
        return fail_prefix("%s", *s->data ? s->data : s->format);
    b->images = s->subset.n;
    b->chosen = s->subset.images;
    return 0;
}

int data_source_open(struct data_source *s, int size)
{
    const bool hold = s->wish.hold > 0;
    s->wish.held = hold && strcmp(s->split, "test") == 0;
    s->skips = skips_new(s->stop_on_error);
    if (!s->skips)
        return -1;
    s->set = dataset_open(&(struct dataset_place){.path = s->data,
                                                  .format = s->format,
                                                  .split = hold ? "train" : s->split,
                                                  .hold = hold,
                                                  .size = size,
                                                  .budget = s->cache,
                                                  .links = s->links},
                          s->skips);
    if (!s->set || choose_images(s))
        return -1;
    if (sampler_init(&s->batches))
        return fail_prefix("%s", *s->data ? s->data : s->format);
    s->rows = (struct batch_reader){.set = s->set,
                                    .batches = &s->batches,
                                    .buffer_images = s->shuffle,
                                    .buffer_bytes = s->cache > MIN_BUFFER ? s->cache : MIN_BUFFER};
    if (batch_reader_init(&s->rows))
        return -1;
    if (dataset_count(s->set) >= 0)
        dataset_tell_passed_over(s->set);
    return 0;
}

void data_source_close(struct data_source *s)
{
    batch_reader_free(&s->rows);
    sampler_free(&s->batches);
    subset_free(&s->subset);
    dataset_close(s->set);
    skips_free(s->skips);
}
