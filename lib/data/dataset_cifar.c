/* cifar10 and cifar100: CIFAR's files, which are in a folder, or in the archive that is distributed,
 * in their binary version or as pickles of Python (cifar_batch.h has both layouts). They are read
 * as a whole (184 MB for a training set). */
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/cifar_batch.h"
#include "data/cifar_files.h"
#include "data/dataset_format.h"
#include "data/part.h"
#include "data/path.h"

enum { MAX_TEXT = 1 << 20 }; /* bytes of a file of names */

/* The files of one version. */
struct cifar_version {
    const char *train[CIFAR_MAX_FILES + 1], *test[2];
    /* A file with the names of the classes: one a line in the order of the labels, or in a pickle
     * the list `names_key`. */
    const char *names[2];
    size_t label_bytes;             /* of a record, or 0: pickles */
    bool check;                     /* the names alone do not say that these are CIFAR's files */
    const char *labels, *names_key; /* the keys in pickles */
};

struct cifar_kind {
    int classes;
    struct cifar_version versions[2];
};

static const struct cifar_kind cifar10 = {
    10,
    {{.train = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                "data_batch_5.bin"},
      .test = {"test_batch.bin"},
      .names = {"batches.meta.txt"},
      .label_bytes = 1},
     {.train = {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5"},
      .test = {"test_batch"},
      .names = {"batches.meta"},
      .labels = "labels",
      .names_key = "label_names"}},
};
static const struct cifar_kind cifar100 = {
    100,
    {{.train = {"train.bin"},
      .test = {"test.bin"},
      .names = {"fine_label_names.txt"},
      .label_bytes = 2},
     {.train = {"train"},
      .test = {"test"},
      .names = {"meta"},
      .check = true,
      .labels = "fine_labels",
      .names_key = "fine_label_names"}},
};

struct cifar {
    const struct cifar_kind *kind;
    const struct cifar_version *version;
    const char *const *files; /* of the split */
    struct cifar_images images;
    /* For each file that was read: its path, or NULL in an archive; and the number of images up to
     * its end. */
    char *paths[CIFAR_MAX_FILES];
    int64_t ends[CIFAR_MAX_FILES];
    int n_files;
    char *text; /* the memory of the names; NULL: there are none */
    const char **names;
};

/* Returns the version whose files are at the path, or NULL. */
static const struct cifar_version *find_version(const char *path, const struct cifar_kind *kind)
{
    if (!path_is_folder(path) && !path_is_file(path))
        return NULL;
    const struct cifar_version *v = kind->versions;
    const struct cifar_list lists[] = {{v[0].train, v[0].check},
                                       {v[0].test, v[0].check},
                                       {v[1].train, v[1].check},
                                       {v[1].test, v[1].check}};
    const int found = cifar_files_find(path, lists, 4);
    return found < 0 ? NULL : &v[found / 2];
}

/* Leaves the message that a file is missing. Otherwise the user would not notice that some of the
 * training images are not used. Returns -1. */
static int fail_missing(const struct cifar *c, const struct sample *file)
{
    const char *const *train = c->version->train;
    return train[1] && c->files == train
               ? fail("%s: has no %s; the training part is the five files %s to %s", file->file,
                      file->member, train[0], train[CIFAR_MAX_FILES - 1])
               : fail("%s: has no %s", file->file, file->member);
}

static int take_file(void *context, const struct sample *file, bool found)
{
    struct cifar *c = context;
    if (!found)
        return fail_missing(c, file);
    if (c->version->label_bytes
            ? cifar_batch_add_records(&c->images, file, c->version->label_bytes, c->kind->classes)
            : cifar_batch_add_pickle(&c->images, file, c->version->labels, c->kind->classes))
        return -1;
    c->ends[c->n_files++] = c->images.count;
    return 0;
}

/* Keeps the paths of the files in a folder, for origin(). */
static int keep_paths(struct cifar *c, const char *folder)
{
    for (int i = 0; i < c->n_files; i++)
        if (!(c->paths[i] = path_join(folder, c->files[i])))
            return -1;
    return 0;
}

/* ---- names of classes ---- */

static int take_lines(struct cifar *c, const struct sample *file)
{
    c->text = malloc(file->size + 1);
    if (!c->text)
        return sample_fail(file, "out of memory");
    memcpy(c->text, file->bytes, file->size);
    c->text[file->size] = '\0';
    int n = 0;
    char *rest = c->text;
    for (char *line; (line = strsep(&rest, "\r\n"));) {
        if (!*line)
            continue;
        if (n < c->kind->classes)
            c->names[n] = line;
        n++;
    }
    return n == c->kind->classes ? 0
                                 : sample_fail(file, "%d names of %d classes", n, c->kind->classes);
}

/* Takes the names of the classes, if there is a file of them; it must have one for each class. */
static int take_names(void *context, const struct sample *file, bool found)
{
    struct cifar *c = context;
    if (!found)
        return 0;
    if (file->size > MAX_TEXT)
        return sample_fail(file, "more than %d bytes", MAX_TEXT);
    c->names = calloc((size_t)c->kind->classes, sizeof *c->names);
    if (!c->names)
        return sample_fail(file, "out of memory");
    return c->version->label_bytes
               ? take_lines(c, file)
               : cifar_batch_pickled_names(file, c->version->names_key, c->kind->classes, c->names,
                                           &c->text);
}

/* ---- the format ---- */

static int open_set(struct dataset *set, const struct dataset_options *options,
                    const struct cifar_kind *kind)
{
    struct cifar *c = set->state = calloc(1, sizeof(struct cifar));
    if (!c)
        return fail_memory(options->path);
    const bool train = strcmp(options->split, "train") == 0,
               test = strcmp(options->split, "test") == 0;
    const struct cifar_version *v = find_version(options->path, kind);
    if (!v)
        return part_missing(options->path, options->split);
    const struct cifar_list wanted = {test ? v->test : v->train, v->check},
                            held = {v->test, v->check};
    if (options->hold && cifar_files_has_any(options->path, &held))
        return part_refuse_hold(options->path);
    if ((!train && !test) || !cifar_files_has_any(options->path, &wanted))
        return part_missing(options->path, options->split);
    c->kind = kind;
    c->version = v;
    c->files = test ? v->test : v->train;
    if (cifar_files_read(options->path, c->files, take_file, c) ||
        cifar_files_read(options->path, v->names, take_names, c) ||
        (path_is_folder(options->path) && keep_paths(c, options->path)))
        return -1;
    set->count = c->images.count;
    set->classes = kind->classes;
    set->native_size = CIFAR_SIDE;
    set->class_names = c->names;
    return 0;
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct cifar *c = set->state;
    s->bytes = c->images.images + (size_t)i * CIFAR_KEPT;
    s->size = CIFAR_PIXELS;
    s->width = s->height = CIFAR_SIDE;
    s->label = s->bytes[CIFAR_PIXELS];
    return 0;
}

static int64_t label(const struct dataset *set, int64_t i)
{
    const struct cifar *c = set->state;
    return c->images.images[(size_t)i * CIFAR_KEPT + CIFAR_PIXELS];
}

static void origin(const struct dataset *set, int64_t i, struct dataset_origin *out)
{
    const struct cifar *c = set->state;
    int k = 0;
    while (i >= c->ends[k])
        k++;
    const int64_t number = k ? i - c->ends[k - 1] : i;
    *out = c->paths[k] ? (struct dataset_origin){c->paths[k], NULL, number}
                       : (struct dataset_origin){set->name, c->files[k], number};
}

static void close_set(struct dataset *set)
{
    struct cifar *c = set->state;
    if (c) {
        cifar_images_free(&c->images);
        free(c->text);
        free(c->names);
        for (int i = 0; i < CIFAR_MAX_FILES; i++)
            free(c->paths[i]);
    }
    free(c);
}

static bool recognize10(const char *path)
{
    return find_version(path, &cifar10);
}

static bool recognize100(const char *path)
{
    return find_version(path, &cifar100);
}

static int open10(struct dataset *set, const struct dataset_options *options)
{
    return open_set(set, options, &cifar10);
}

static int open100(struct dataset *set, const struct dataset_options *options)
{
    return open_set(set, options, &cifar100);
}

const struct dataset_format dataset_cifar10 = {.recognize = recognize10,
                                               .open = open10,
                                               .get = get,
                                               .label = label,
                                               .origin = origin,
                                               .close = close_set};
const struct dataset_format dataset_cifar100 = {.recognize = recognize100,
                                                .open = open100,
                                                .get = get,
                                                .label = label,
                                                .origin = origin,
                                                .close = close_set};
