#include "selection.h"

#include "fail.h"

/* Bytes that a shuffle buffer may have, however small the cache is. */
enum { MIN_BUFFER = 256 << 20 };

/* How many images an epoch is made of. */
static int count_images(struct selection *s)
{
    struct batches *b = &s->batches;
    const int64_t images = dataset_count(s->set);
    b->images = s->limit && (images < 0 || s->limit < images) ? s->limit : images;
    if (images >= 0)
        return 0;
    if (s->epochs_given && b->epochs > 1)
        return fail("%s: more than --cache holds, and it comes once: not --epochs %lld", s->data,
                    (long long)b->epochs);
    b->epochs = 1;
    if (!s->limit && !b->steps)
        return fail("%s: more than --cache holds: --steps or --limit has to say how much of it to "
                    "take",
                    s->data);
    if (!s->limit && __builtin_mul_overflow(b->steps, b->batch, &b->images))
        return fail("--steps %lld: more images than can be counted", (long long)b->steps);
    return 0;
}

/* Of these only some. */
static int choose_images(struct selection *s)
{
    struct batches *b = &s->batches;
    if (s->labels >= 1 && !s->labels_per_class)
        return 0;
    if (subset_choose(&s->subset, s->set, b->images, s->labels, s->labels_per_class,
                      (uint64_t)s->labels_seed))
        return -1;
    b->images = s->subset.n;
    b->chosen = s->subset.images;
    return 0;
}

int selection_open(struct selection *s, int size)
{
    s->skips = skips_new(s->stop_on_error);
    s->set = s->skips ? dataset_open(s->data, s->format, s->split, size, s->cache, s->skips) : NULL;
    if (!s->set || count_images(s))
        return -1;
    if (choose_images(s) || batches_init(&s->batches))
        return fail("%s: %s", *s->data ? s->data : s->format, fail_message());
    s->rows = (struct rows){.set = s->set,
                            .batches = &s->batches,
                            .buffer_images = s->shuffle,
                            .buffer_bytes = s->cache > MIN_BUFFER ? s->cache : MIN_BUFFER};
    return rows_init(&s->rows);
}

void selection_close(struct selection *s)
{
    rows_free(&s->rows);
    batches_free(&s->batches);
    subset_free(&s->subset);
    dataset_close(s->set);
    skips_free(s->skips);
}
