#include "data/read_errors.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/stop.h"
#include "base/warn.h"

enum { NAMED = 5 };

struct read_errors {
    bool stop;
    pthread_mutex_t mutex;
    int64_t *indices; /* ascending */
    int64_t n, capacity;
    int64_t labels;     /* that could not be read */
    char *label_defect; /* what the last of them was */
};

struct read_errors *read_errors_new(bool stop)
{
    struct read_errors *s = calloc(1, sizeof *s);
    if (!s) {
        fail_memory(NULL);
        return NULL;
    }
    s->stop = stop;
    pthread_mutex_init(&s->mutex, NULL);
    return s;
}

void read_errors_free(struct read_errors *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->mutex);
    free(s->indices);
    free(s->label_defect);
    free(s);
}

/* 1: new, 0: known, -1: memory is out. */
static int remember(struct read_errors *s, int64_t index)
{
    int64_t at = 0, end = s->n;
    while (at < end) {
        const int64_t middle = (at + end) / 2;
        if (s->indices[middle] < index)
            at = middle + 1;
        else
            end = middle;
    }
    if (at < s->n && s->indices[at] == index)
        return 0;
    int64_t *grown = grow(s->indices, s->n, &s->capacity, sizeof *grown);
    if (!grown)
        return fail_memory(NULL);
    s->indices = grown;
    memmove(s->indices + at + 1, s->indices + at, (size_t)(s->n - at) * sizeof *s->indices);
    s->indices[at] = index;
    s->n++;
    return 1;
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

/* Tells the nth defect, if it is one of the first. */
static void tell(int64_t n, const char *what)
{
    if (n <= NAMED)
        warn_line("%s: %s%s", fail_message(), what,
                  n == NAMED ? " (further ones are only counted)" : "");
}

static int count(struct read_errors *s, int64_t index, int64_t images)
{
    const int is_new = remember(s, index);
    if (is_new < 1)
        return is_new;
    if (too_many(s->n, images))
        return fail("%s: the %lld%s unreadable one of %lld images, and more than 1 %%",
                    fail_message(), (long long)s->n, ordinal(s->n), (long long)images);
    tell(s->n, "skipped");
    return 0;
}

int read_errors_add_image(struct read_errors *s, int64_t index, int64_t images)
{
    if (s->stop)
        return -1;
    pthread_mutex_lock(&s->mutex);
    const int result = count(s, index, images);
    pthread_mutex_unlock(&s->mutex);
    return result;
}

static int count_label(struct read_errors *s, int64_t before)
{
    if (before < s->labels)
        return 0;
    char *defect = strdup(fail_message());
    if (!defect)
        return fail_memory(NULL);
    free(s->label_defect);
    s->label_defect = defect;
    s->labels++;
    tell(s->labels, "its image is left out");
    return 0;
}

int read_errors_add_label(struct read_errors *s, int64_t before)
{
    if (s->stop)
        return -1;
    pthread_mutex_lock(&s->mutex);
    const int result = count_label(s, before);
    pthread_mutex_unlock(&s->mutex);
    return result;
}

int read_errors_check_labels(struct read_errors *s, int64_t images)
{
    pthread_mutex_lock(&s->mutex);
    const int result =
        too_many(s->labels, images)
            ? fail("%s: the %lld%s label of %lld images that cannot be read, and more than 1 %%",
                   s->label_defect, (long long)s->labels, ordinal(s->labels), (long long)images)
            : 0;
    pthread_mutex_unlock(&s->mutex);
    return result;
}

int read_errors_add_archive(struct read_errors *s)
{
    if (s->stop || stop_check())
        return -1;
    warn_line("%s: the rest is skipped", fail_message());
    return 0;
}

int64_t read_errors_image_count(const struct read_errors *s)
{
    return s->n;
}

int64_t read_errors_label_count(const struct read_errors *s)
{
    return s->labels;
}
