#include "dataset.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "classes.h"
#include "dataset_format.h"
#include "decode.h"
#include "fail.h"
#include "grow.h"
#include "signals.h"

const char dataset_formats[] = "auto|cifar10|cifar100|idx|folder|tar|frames|shapes|series";
static const struct dataset_format *const formats[] = {
    &dataset_shapes, &dataset_series, &dataset_cifar10, &dataset_cifar100,
    &dataset_idx,    &dataset_frames, &dataset_tar,     &dataset_folder,
};
enum { N_FORMATS = sizeof formats / sizeof formats[0] };

/* What is known of a set in sequence: its samples, if they fit; if not, those that were read before
 * that was known, of a set that cannot begin again. */
struct held {
    struct sample *samples;
    int64_t n, capacity, bytes;
    bool stream;
    int64_t next;  /* of a stream: the first of samples that was not handed on */
    bool classed;  /* all names of classes are known */
    bool reported; /* its damage was told in an earlier pass */
    struct classes classes;
};

/* ---- what lies there ---- */

bool dataset_is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

char *dataset_find(const char *folder, bool (*fits)(const char *name, const char *split),
                   const char *split)
{
    struct dirent **names = NULL;
    const int n = scandir(folder, &names, NULL, alphasort);
    char *path = NULL;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (!path && *name != '.' && fits(name, split) &&
            asprintf(&path, "%s/%s", folder, name) < 0)
            path = NULL;
        free(names[i]);
    }
    free(names);
    return path;
}

bool dataset_is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Of a pipe: what tee(2) duplicates into another. */
static size_t peek_pipe(int fd, void *bytes, size_t n)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return 0;
    size_t got = 0;
    for (;;) {
        const ssize_t more = tee(fd, ends[1], n, 0);
        if (more > 0 && read(ends[0], bytes, (size_t)more) != more)
            break;
        struct pollfd end = {fd, POLLIN, 0};
        const bool over = more <= 0 || (poll(&end, 1, 0) > 0 && (end.revents & POLLHUP));
        got = more > 0 ? (size_t)more : 0;
        if (over || got >= n || stop_check())
            break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); /* the writer is in the middle */
    }
    close(ends[0]);
    close(ends[1]);
    return got;
}

size_t dataset_peek(const char *path, void *bytes, size_t n)
{
    struct stat st;
    const bool is_stdin = strcmp(path, "-") == 0;
    if (is_stdin ? fstat(STDIN_FILENO, &st) : stat(path, &st))
        return 0;
    /* A FIFO of a name would lose its writer when it is closed again. */
    if (is_stdin && S_ISFIFO(st.st_mode))
        return peek_pipe(STDIN_FILENO, bytes, n);
    if (!S_ISREG(st.st_mode))
        return 0;
    const int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    const off_t at = is_stdin ? lseek(fd, 0, SEEK_CUR) : 0;
    const ssize_t got = fd < 0 || at < 0 ? -1 : pread(fd, bytes, n, at);
    if (!is_stdin && fd >= 0)
        close(fd);
    return got < 0 ? 0 : (size_t)got;
}

/* ---- opening ---- */

static const struct dataset_format *choose(const char *path, const char *format)
{
    const bool look = strcmp(format, "auto") == 0;
    for (int i = 0; i < N_FORMATS; i++)
        if (look ? formats[i]->recognize(path) : strcmp(formats[i]->name, format) == 0)
            return formats[i];
    struct stat st;
    if (!look)
        fail("unknown format '%s' (there are %s)", format, dataset_formats);
    else if (strcmp(path, "-") != 0 && stat(path, &st) != 0)
        fail("%s: %s", path, strerror(errno));
    else
        fail("%s: no folder, archive, IDX file or frames (--format %s)", path, dataset_formats);
    return NULL;
}

bool dataset_holds_series(const char *path, const char *format)
{
    return strcmp(format, dataset_series.name) == 0 ||
           (strcmp(format, "auto") == 0 && dataset_series.recognize(path));
}

static int64_t bytes_of(const struct sample *s)
{
    return (int64_t)(sizeof *s + s->capacity + (s->text ? strlen(s->text) + 32 : 0));
}

static int add_sample(struct held *h, struct sample *s)
{
    struct sample *grown = grow(h->samples, h->n, &h->capacity, sizeof *grown);
    if (!grown)
        return sample_fail(s, "out of memory");
    h->samples = grown;
    h->samples[h->n++] = *s;
    h->bytes += bytes_of(s);
    *s = (struct sample){0};
    return 0;
}

static void forget_samples(struct held *h)
{
    for (int64_t i = h->next; i < h->n; i++)
        sample_free(&h->samples[i]);
    free(h->samples);
    h->samples = NULL;
    h->n = h->capacity = h->bytes = h->next = 0;
}

int dataset_broke_off(const struct dataset *set)
{
    return set->held && set->held->reported ? 0 : skips_archive(set->skips);
}

/* Square, and how large? 0 where a sample does not tell. */
static int side_of(const struct sample *s)
{
    int width = s->width, height = s->height;
    struct decoder *d = width ? NULL : decoder_new();
    if (d && decode_start(d, s, false, &width, &height))
        width = 0;
    decoder_free(d);
    return width == height ? width : 0;
}

static void number_class(const struct held *h, struct sample *s)
{
    if (s->class_name && h->classed)
        s->label = classes_number(&h->classes, s->class_name);
}

/* Counts the rest of what does not fit, and begins again. */
static int count_stream(struct dataset *set, struct sample *s)
{
    struct held *h = set->held;
    int result;
    set->count = h->n;
    while ((result = set->format->next(set, s)) > 0) {
        if (s->class_name && classes_add(&h->classes, s->class_name))
            return -1;
        set->count++;
    }
    forget_samples(h);
    h->classed = h->reported = true;
    return result < 0 ? -1 : set->format->rewind(set);
}

/* Reads a set in sequence into memory; if it turns out larger than the budget, makes a stream of
 * it. */
static int hold(struct dataset *set, int64_t budget)
{
    struct held *h = set->held;
    struct sample s = {0};
    int result = 0;
    while (h->bytes <= budget && (result = set->format->next(set, &s)) > 0) {
        if (!set->native_size && h->n < 8)
            set->native_size = side_of(&s);
        if ((s.class_name && classes_add(&h->classes, s.class_name)) || add_sample(h, &s)) {
            result = -1;
            break;
        }
    }
    h->stream = h->bytes > budget;
    set->count = h->stream ? -1 : h->n;
    if (h->stream)
        result = set->rewinds ? count_stream(set, &s) : 0;
    else
        h->classed = true;
    sample_free(&s);
    set->classes = h->classed ? h->classes.n : 0;
    for (int64_t i = 0; i < h->n; i++) {
        number_class(h, &h->samples[i]);
        if (h->samples[i].label >= set->classes)
            set->classes = (int)h->samples[i].label + 1;
    }
    return result;
}

static void find_native_size(struct dataset *set)
{
    struct sample s = {0};
    for (int64_t i = 0; i < set->count && i < 8 && set->native_size == 0; i++)
        if (dataset_get(set, i, &s) == 0) {
            set->native_size = side_of(&s);
            break;
        }
    sample_free(&s);
}

static int open_set(struct dataset *set, const struct dataset_place *place, int64_t budget)
{
    if (set->format->open(set, place))
        return -1;
    if (!set->in_sequence) {
        find_native_size(set);
        return 0;
    }
    set->held = calloc(1, sizeof *set->held);
    if (!set->held)
        return fail("%s: out of memory", place->path);
    if (hold(set, budget))
        return -1;
    return set->count == 0 ? fail("%s: no image in it", place->path) : 0;
}

struct dataset *dataset_open(const char *path, const char *format, const char *split, int size,
                             int64_t budget, struct skips *skips)
{
    const struct dataset_format *f = choose(path, format);
    if (!f)
        return NULL;
    struct dataset *set = calloc(1, sizeof *set);
    if (!set) {
        fail("%s: out of memory", path);
        return NULL;
    }
    set->format = f;
    set->skips = skips;
    if (open_set(set, &(struct dataset_place){path, split, size}, budget)) {
        dataset_close(set);
        return NULL;
    }
    return set;
}

void dataset_close(struct dataset *set)
{
    if (!set)
        return;
    if (set->held) {
        forget_samples(set->held);
        classes_free(&set->held->classes);
        free(set->held);
    }
    set->format->close(set);
    free(set);
}

/* ---- what is known ---- */

bool dataset_is_stream(const struct dataset *set)
{
    return set->held && set->held->stream;
}

int64_t dataset_count(const struct dataset *set)
{
    return set->count;
}

int dataset_classes(const struct dataset *set)
{
    return set->classes;
}

int dataset_channels(const struct dataset *set)
{
    return set->channels;
}

int dataset_native_size(const struct dataset *set)
{
    return set->native_size;
}

int64_t dataset_held(const struct dataset *set)
{
    return set->held ? set->held->bytes : 0;
}

bool dataset_is_costly(const struct dataset *set)
{
    return set->costly;
}

/* ---- images ---- */

int dataset_get(const struct dataset *set, int64_t i, struct sample *s)
{
    assert(i >= 0 && i < set->count);
    if (!set->held)
        return set->format->get(set, i, s);
    assert(!set->held->stream);
    sample_point(s, &set->held->samples[i]);
    return 0;
}

int64_t dataset_label(const struct dataset *set, int64_t i)
{
    assert(i >= 0 && i < set->count && !dataset_is_stream(set));
    return set->held ? set->held->samples[i].label : set->format->label(set, i);
}

int dataset_next(struct dataset *set, struct sample *s)
{
    struct held *h = set->held;
    assert(h && h->stream);
    if (h->next < h->n) {
        sample_free(s);
        *s = h->samples[h->next++];
        if (h->next == h->n)
            forget_samples(h);
        return 1;
    }
    const int result = set->format->next(set, s);
    if (result > 0)
        number_class(h, s);
    return result;
}

int dataset_rewind(struct dataset *set)
{
    return set->rewinds ? set->format->rewind(set)
                        : fail("what came in sequence cannot begin again");
}
