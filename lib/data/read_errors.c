#include "data/read_errors.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/stop.h"
#include "base/warn.h"

enum { NAMED = 5 /* errors of each kind that are printed */ };

struct read_errors {
    bool stop;
    pthread_mutex_t mutex;
    int64_t *indices; /* indices of the images that could not be read, ascending */
    int64_t n, capacity;
    int64_t labels;    /* number of labels that could not be read */
    char *label_error; /* message of the last of these labels */
};

struct read_errors *read_errors_new(bool stop)
{
    struct read_errors *e = calloc(1, sizeof *e);
    if (!e) {
        fail_memory(NULL);
        return NULL;
    }
    e->stop = stop;
    pthread_mutex_init(&e->mutex, NULL);
    return e;
}

void read_errors_free(struct read_errors *e)
{
    if (!e)
        return;
    pthread_mutex_destroy(&e->mutex);
    free(e->indices);
    free(e->label_error);
    free(e);
}

enum remember_result { REMEMBER_FAILED = -1, REMEMBER_KNOWN, REMEMBER_NEW };

/* Adds an index to the sorted list, unless it is in it already. */
static enum remember_result remember(struct read_errors *e, int64_t index)
{
    int64_t at = 0, end = e->n;
    while (at < end) {
        const int64_t middle = (at + end) / 2;
        if (e->indices[middle] < index)
            at = middle + 1;
        else
            end = middle;
    }
    if (at < e->n && e->indices[at] == index)
        return REMEMBER_KNOWN;
    int64_t *grown = grow(e->indices, e->n, &e->capacity, sizeof *grown);
    if (!grown) {
        fail_memory(NULL);
        return REMEMBER_FAILED;
    }
    e->indices = grown;
    memmove(e->indices + at + 1, e->indices + at, (size_t)(e->n - at) * sizeof *e->indices);
    e->indices[at] = index;
    e->n++;
    return REMEMBER_NEW;
}

static const char *ordinal(int64_t n)
{
    const int64_t last = n % 100 >= 11 && n % 100 <= 13 ? 0 : n % 10;
    return last == 1 ? "st" : last == 2 ? "nd" : last == 3 ? "rd" : "th";
}

static bool too_many(int64_t n, int64_t images)
{
    return n > 1 && n > images / 100;
}

/* Prints the nth error if it is one of the first. */
static void report(int64_t n, const char *what)
{
    if (n <= NAMED)
        warn_line("%s: %s%s", fail_message(), what,
                  n == NAMED ? " (further ones are only counted)" : "");
}

static int count(struct read_errors *e, int64_t index, int64_t images)
{
    const enum remember_result result = remember(e, index);
    if (result != REMEMBER_NEW)
        return result == REMEMBER_KNOWN ? 0 : -1;
    if (too_many(e->n, images))
        return fail("%s: the %lld%s unreadable one of %lld images, and more than 1 %%",
                    fail_message(), (long long)e->n, ordinal(e->n), (long long)images);
    report(e->n, "skipped");
    return 0;
}

int read_errors_add_image(struct read_errors *e, int64_t index, int64_t images)
{
    if (e->stop)
        return -1;
    pthread_mutex_lock(&e->mutex);
    const int result = count(e, index, images);
    pthread_mutex_unlock(&e->mutex);
    return result;
}

static int count_label(struct read_errors *e, int64_t before)
{
    if (before < e->labels)
        return 0;
    char *error = strdup(fail_message());
    if (!error)
        return fail_memory(NULL);
    free(e->label_error);
    e->label_error = error;
    e->labels++;
    report(e->labels, "its image is left out");
    return 0;
}

int read_errors_add_label(struct read_errors *e, int64_t before)
{
    if (e->stop)
        return -1;
    pthread_mutex_lock(&e->mutex);
    const int result = count_label(e, before);
    pthread_mutex_unlock(&e->mutex);
    return result;
}

int read_errors_check_labels(struct read_errors *e, int64_t images)
{
    pthread_mutex_lock(&e->mutex);
    const int result =
        too_many(e->labels, images)
            ? fail("%s: the %lld%s label of %lld images that cannot be read, and more than 1 %%",
                   e->label_error, (long long)e->labels, ordinal(e->labels), (long long)images)
            : 0;
    pthread_mutex_unlock(&e->mutex);
    return result;
}

int read_errors_add_archive(struct read_errors *e)
{
    if (e->stop || stop_check())
        return -1;
    warn_line("%s: the rest is skipped", fail_message());
    return 0;
}

int64_t read_errors_image_count(const struct read_errors *e)
{
    return e->n;
}

int64_t read_errors_label_count(const struct read_errors *e)
{
    return e->labels;
}
