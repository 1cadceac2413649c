#include "data/data_source.h"

#include <string.h>

#include "base/fail.h"
#include "base/warn.h"

enum {
    MIN_BUFFER = 256 << 20
}; /* bytes that a shuffle buffer may use even if the cache is smaller */

/* A stream that comes once has one epoch. */
static int allow_one_epoch(struct data_source *s)
{
    struct sampler *sampler = &s->sampler;
    if (s->epochs_given && sampler->epochs > 1)
        return fail("%s: more than --cache holds, and it comes once: --epochs %lld is not possible",
                    s->data, (long long)sampler->epochs);
    sampler->epochs = 1;
    return 0;
}

/* Sets the images of a stream that comes once. --limit or --steps decides how much of it is
 * read. */
static int count_once(struct data_source *s)
{
    struct sampler *sampler = &s->sampler;
    const int64_t limit = s->subset_options.limit;
    if (!limit && !sampler->steps)
        return fail(
            "%s: more than --cache holds, and it comes once: give --steps or --limit to say how "
            "much of it to take",
            s->data);
    if (limit)
        sampler->images = limit;
    else if (__builtin_mul_overflow(sampler->steps, sampler->batch, &sampler->images))
        return fail("--steps %lld: more images than can be counted", (long long)sampler->steps);
    return 0;
}

static int choose_of_stream(struct data_source *s)
{
    const struct subset_options *options = &s->subset_options;
    struct sampler *sampler = &s->sampler;
    if (options->hold > 0 || options->labels < 1 || options->labels_per_class)
        return fail("%s: %s cannot be chosen from a stream, whose images come in sequence (a "
                    "larger --cache "
                    "may hold it)",
                    s->data, options->hold > 0 ? "images to hold back" : "labels");
    sampler->images = dataset_count(s->set);
    if (dataset_comes_once(s->set) && allow_one_epoch(s))
        return -1;
    if (sampler->images < 0)
        return count_once(s);
    if (options->limit && options->limit < sampler->images) {
        warn_line(
            "%s: a stream: --limit %lld takes its first %lld images, in the order of the data "
            "(a larger --cache may hold it)",
            s->data, (long long)options->limit, (long long)options->limit);
        sampler->images = options->limit;
    }
    return 0;
}

/* Chooses the images of an epoch. */
static int choose_images(struct data_source *s)
{
    struct sampler *sampler = &s->sampler;
    if (dataset_is_stream(s->set))
        return choose_of_stream(s);
    if (subset_choose(&s->subset, s->set, &s->subset_options))
        return fail_prefix("%s", *s->data ? s->data : s->format);
    sampler->images = s->subset.n;
    sampler->chosen = s->subset.images;
    return 0;
}

int data_source_open(struct data_source *s, int size)
{
    const bool hold = s->subset_options.hold > 0;
    s->subset_options.held_out = hold && strcmp(s->split, "test") == 0;
    s->errors = read_errors_new(s->stop_on_error);
    if (!s->errors)
        return -1;
    s->set = dataset_open(&(struct dataset_options){.path = s->data,
                                                    .format = s->format,
                                                    .split = hold ? "train" : s->split,
                                                    .hold = hold,
                                                    .size = size,
                                                    .budget = s->cache,
                                                    .count = s->count,
                                                    .retries = s->retries,
                                                    .links = s->links},
                          s->errors);
    if (!s->set || choose_images(s))
        return -1;
    if (sampler_init(&s->sampler))
        return fail_prefix("%s", *s->data ? s->data : s->format);
    s->reader =
        (struct batch_reader){.set = s->set,
                              .sampler = &s->sampler,
                              .buffer_images = s->shuffle,
                              .buffer_bytes = s->cache > MIN_BUFFER ? s->cache : MIN_BUFFER};
    if (batch_reader_init(&s->reader))
        return -1;
    if (dataset_count(s->set) >= 0 && !dataset_count_is_given(s->set))
        dataset_report_ignored(s->set);
    return 0;
}

void data_source_close(struct data_source *s)
{
    batch_reader_free(&s->reader);
    sampler_free(&s->sampler);
    subset_free(&s->subset);
    dataset_close(s->set);
    read_errors_free(s->errors);
}
