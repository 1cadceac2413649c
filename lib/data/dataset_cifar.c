/* cifar10 and cifar100: CIFAR's binary files, which are records of a label byte (CIFAR-100: a
 * coarse and a fine one) and three planes of 32 x 32 pixels. They are in a folder, or in the
 * archive that is distributed, and are read as a whole (184 MB for a training set). In memory the
 * pixels are interleaved. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/multiversion.h"
#include "base/regular_file.h"
#include "data/dataset_format.h"
#include "data/part.h"
#include "data/path.h"
#include "data/tar.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE, KEPT = PIXELS + 1 };
enum {
    MAX_FILES = 5, /* largest number of files of a part */
    LOOK_AT = 16,  /* entries of an archive from which recognize() decides */
    MAX_TEXT = 1 << 20
};

struct cifar_kind {
    size_t label_bytes; /* bytes of labels in a record, of which the last one is used */
    int classes;
    const char *train[MAX_FILES + 1], *test[2];
    const char *names; /* a file with one class name a line, in the order of the labels */
};

static const struct cifar_kind cifar10 = {
    1,
    10,
    {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
     "data_batch_5.bin"},
    {"test_batch.bin"},
    "batches.meta.txt",
};
static const struct cifar_kind cifar100 = {
    2, 100, {"train.bin"}, {"test.bin"}, "fine_label_names.txt"};

struct cifar {
    uint8_t *images; /* U8 (count,KEPT): the pixels U8 (32,32,3) of an image, then its label */
    char *text;      /* text of the file of names, cut into lines; NULL: there is no such file */
    const char **names;
};

static bool is_among(const char *name, const char *const *files)
{
    while (*files && strcmp(*files, name) != 0)
        files++;
    return *files;
}

static bool folder_has(const char *folder, const char *const *files)
{
    bool found = false;
    for (; *files && !found; files++) {
        char *path = path_join(folder, *files);
        found = path && access(path, F_OK) == 0;
        free(path);
    }
    return found;
}

static bool archive_has(const char *path, const char *const *files)
{
    struct tar *t = tar_open(path);
    struct tar_entry e;
    bool found = false;
    for (int i = 0; t && i < LOOK_AT && !found && tar_next(t, &e) == TAR_ENTRY; i++)
        found = is_among(basename(e.path), files);
    tar_close(t);
    return found;
}

static bool has_any(const char *path, const char *const *files)
{
    return path_is_folder(path) ? folder_has(path, files) : archive_has(path, files);
}

static bool recognize(const char *path, const struct cifar_kind *kind)
{
    return (path_is_folder(path) || path_is_file(path)) &&
           (has_any(path, kind->train) || has_any(path, kind->test));
}

MULTIVERSION
static void interleave(const uint8_t *restrict planes, uint8_t *restrict pixels)
{
    for (size_t i = 0; i < PLANE; i++) {
        pixels[3 * i] = planes[i];
        pixels[3 * i + 1] = planes[PLANE + i];
        pixels[3 * i + 2] = planes[2 * PLANE + i];
    }
}

/* Adds the records of one file. */
static int add_records(struct dataset *set, const struct cifar_kind *kind, const struct sample *s)
{
    struct cifar *c = set->state;
    const size_t record = kind->label_bytes + PIXELS, n = s->size / record;
    if (n == 0 || s->size % record != 0)
        return sample_fail(s, "%zu bytes are no whole number of records of %zu bytes", s->size,
                           record);
    const size_t total = (size_t)set->count + n;
    uint8_t *grown = reallocarray(c->images, total, KEPT);
    if (!grown)
        return sample_fail(s, "out of memory");
    c->images = grown;
    for (size_t k = 0; k < n; k++) {
        const uint8_t *from = s->bytes + k * record, label = from[kind->label_bytes - 1];
        uint8_t *to = c->images + ((size_t)set->count + k) * KEPT;
        if (label >= kind->classes)
            return sample_fail(s, "record %zu has label %d, and there are %d classes", k, label,
                               kind->classes);
        interleave(from + kind->label_bytes, to);
        to[PIXELS] = label;
    }
    set->count += (int64_t)n;
    return 0;
}

/* Leaves the message that a file is missing. Otherwise the user would not notice that some of the
 * training images are not used. Returns -1. */
static int fail_missing(const char *where, const char *file, const struct cifar_kind *kind)
{
    return kind->train[1] ? fail("%s: has no %s; the training part is the five files %s to %s",
                                 where, file, kind->train[0], kind->train[MAX_FILES - 1])
                          : fail("%s: has no %s", where, file);
}

static int read_folder(struct dataset *set, const struct cifar_kind *kind, const char *folder,
                       const char *const *files)
{
    struct sample s = {0};
    int result = 0;
    for (; *files && result == 0; files++) {
        char *path = path_join(folder, *files);
        s.file = path;
        if (!path)
            result = -1;
        else if (access(path, F_OK) != 0)
            result = fail_missing(folder, *files, kind);
        else
            result = sample_read_file(&s) || add_records(set, kind, &s) ? -1 : 0;
        free(path);
    }
    sample_free(&s);
    return result;
}

/* Reads an entry of the archive into the sample of the file that has the entry's name. */
static int read_entry(struct tar *t, const struct tar_entry *e, const char *path,
                      const char *const *files, struct sample *samples)
{
    int i = 0;
    while (files[i] && strcmp(files[i], basename(e->path)) != 0)
        i++;
    if (!files[i] || e->kind != TAR_FILE)
        return 0;
    struct sample *s = &samples[i];
    s->file = path;
    s->member = files[i];
    if (e->size > SAMPLE_MAX_BYTES)
        return sample_fail(s, "%lld bytes is more than is read", (long long)e->size);
    return sample_reserve(s, (size_t)e->size) || tar_read(t, s->buffer, e->size) ? -1 : 0;
}

/* Reads an archive. Its files are not in the order of their names, which is the order in which the
 * images are numbered. */
static int read_archive(struct dataset *set, const struct cifar_kind *kind, const char *path,
                        const char *const *files)
{
    struct sample samples[MAX_FILES] = {0};
    struct tar *t = tar_open(path);
    struct tar_entry e;
    enum tar_result found;
    int result = t ? 0 : -1, n = 0;
    while (files[n])
        n++;
    while (result == 0 && (found = tar_next(t, &e)) != TAR_END)
        result = found == TAR_FAILED ? -1 : read_entry(t, &e, path, files, samples);
    tar_close(t);
    for (int i = 0; i < MAX_FILES; i++) {
        if (result == 0 && i < n)
            result = samples[i].file ? add_records(set, kind, &samples[i])
                                     : fail_missing(path, files[i], kind);
        sample_free(&samples[i]);
    }
    return result;
}

/* ---- names of classes ---- */

/* Reads the archive's first entry of that name; *text stays NULL if there is none. Returns -1 with
 * a message on failure. */
static int entry_text(const char *path, const char *name, char **text)
{
    struct tar *t = tar_open(path);
    struct tar_entry e;
    int result = t ? 0 : -1;
    while (result == 0 && !*text) {
        const enum tar_result found = tar_next(t, &e);
        if (found != TAR_ENTRY) {
            result = found == TAR_END ? 0 : -1;
            break;
        }
        if (e.kind != TAR_FILE || strcmp(basename(e.path), name) != 0 || e.size > MAX_TEXT)
            continue;
        *text = calloc(1, (size_t)e.size + 1);
        result = *text ? tar_read(t, *text, e.size) : fail_memory(path);
    }
    tar_close(t);
    return result;
}

static int read_text(const char *where, const char *name, char **text)
{
    if (!path_is_folder(where))
        return entry_text(where, name, text);
    char *path = path_join(where, name);
    const int result = !path                ? -1
                       : path_is_file(path) ? regular_file_text(path, MAX_TEXT, text)
                                            : 0;
    free(path);
    return result;
}

/* Reads the names of the classes, if there is a file of them; it must have one for each class. */
static int take_names(struct dataset *set, const struct cifar_kind *kind, const char *where)
{
    struct cifar *c = set->state;
    if (read_text(where, kind->names, &c->text))
        return -1;
    if (!c->text)
        return 0;
    c->names = calloc((size_t)kind->classes, sizeof *c->names);
    if (!c->names)
        return fail_memory(where);
    int n = 0;
    char *rest = c->text;
    for (char *line; (line = strsep(&rest, "\r\n"));) {
        if (!*line)
            continue;
        if (n < kind->classes)
            c->names[n] = line;
        n++;
    }
    if (n != kind->classes)
        return fail("%s: %s: %d names of %d classes", where, kind->names, n, kind->classes);
    set->class_names = c->names;
    return 0;
}

/* ---- the format ---- */

static int open_set(struct dataset *set, const struct dataset_options *options,
                    const struct cifar_kind *kind)
{
    set->state = calloc(1, sizeof(struct cifar));
    if (!set->state)
        return fail_memory(options->path);
    const bool train = strcmp(options->split, "train") == 0,
               test = strcmp(options->split, "test") == 0;
    const char *const *files = test ? kind->test : kind->train;
    if (options->hold && has_any(options->path, kind->test))
        return part_refuse_hold(options->path);
    if ((!train && !test) || !has_any(options->path, files))
        return part_missing(options->path, options->split);
    if (path_is_folder(options->path) ? read_folder(set, kind, options->path, files)
                                      : read_archive(set, kind, options->path, files))
        return -1;
    set->classes = kind->classes;
    set->native_size = SIDE;
    return take_names(set, kind, options->path);
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct cifar *c = set->state;
    s->bytes = c->images + (size_t)i * KEPT;
    s->size = PIXELS;
    s->width = s->height = SIDE;
    s->label = s->bytes[PIXELS];
    return 0;
}

static int64_t label(const struct dataset *set, int64_t i)
{
    const struct cifar *c = set->state;
    return c->images[(size_t)i * KEPT + PIXELS];
}

static void close_set(struct dataset *set)
{
    struct cifar *c = set->state;
    if (c) {
        free(c->images);
        free(c->text);
        free(c->names);
    }
    free(c);
}

static bool recognize10(const char *path)
{
    return recognize(path, &cifar10);
}

static bool recognize100(const char *path)
{
    return recognize(path, &cifar100);
}

static int open10(struct dataset *set, const struct dataset_options *options)
{
    return open_set(set, options, &cifar10);
}

static int open100(struct dataset *set, const struct dataset_options *options)
{
    return open_set(set, options, &cifar100);
}

const struct dataset_format dataset_cifar10 = {
    .recognize = recognize10, .open = open10, .get = get, .label = label, .close = close_set};
const struct dataset_format dataset_cifar100 = {
    .recognize = recognize100, .open = open100, .get = get, .label = label, .close = close_set};
