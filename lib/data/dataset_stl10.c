/* stl10: STL-10's binary files (https://cs.stanford.edu/~acoates/stl10/), in a folder or in the
 * archive that is distributed:
 *
 *   train_X.bin, test_X.bin, unlabeled_X.bin   images U8 (N,3,96,96), each plane column by column
 *   train_y.bin, test_y.bin                    a byte for each image, 1 to 10
 *   class_names.txt                            a name a line; may be missing
 *
 * The unlabeled images have 2.8 GB, so each image is read from its place in the file. In a
 * compressed archive the images come in sequence. Since their labels lie after them, the archive is
 * read once before. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/regular_file.h"
#include "data/dataset_format.h"
#include "data/part.h"
#include "data/path.h"
#include "data/tar.h"

enum { SIDE = 96, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE, CLASSES = 10 };
enum {
    LOOK_AT = 16,         /* entries of an archive from which recognize() decides */
    MAX_LABELS = 1 << 24, /* bytes of a file of labels */
    MAX_NAMES = 4096      /* bytes of class_names.txt */
};

enum { TRAIN, TEST, UNLABELED, PARTS };
static const char *const splits[PARTS] = {"train", "test", "unlabeled"};
static const char *const image_files[PARTS] = {"train_X.bin", "test_X.bin", "unlabeled_X.bin"};
static const char *const label_files[PARTS] = {"train_y.bin", "test_y.bin", NULL};
static const char names_file[] = "class_names.txt";

struct stl10 {
    const char *path; /* of the folder or archive: the set's name */
    bool is_folder;
    int part;
    bool has[PARTS]; /* a file of images of that part */
    /* The file of images of the wanted part. */
    char *file;                  /* its path in a folder; NULL: in an archive */
    int64_t offset, bytes;       /* the offset is -1 in a compressed archive */
    int64_t count;               /* images */
    struct sample labels, names; /* the bytes of these files; size is 0 if they are missing */
    char *text;                  /* a copy of the names, cut into lines */
    const char *class_names[CLASSES];
    /* In sequence. */
    struct tar *tar; /* within the images; NULL: before them */
    int64_t next;    /* number of the next image */
};

/* ---- finding the files ---- */

static bool is_named(const char *path, const char *name)
{
    return name && strcmp(basename(path), name) == 0;
}

/* Returns the part of a file of images, or PARTS if it is none. */
static int part_of(const char *path)
{
    int part = 0;
    while (part < PARTS && !is_named(path, image_files[part]))
        part++;
    return part;
}

static bool folder_has(const char *folder, const char *name)
{
    char *path = path_join(folder, name);
    const bool found = path && path_is_file(path);
    free(path);
    return found;
}

static bool recognize(const char *path)
{
    bool found = false;
    if (path_is_folder(path)) {
        for (int part = 0; part < PARTS && !found; part++)
            found = folder_has(path, image_files[part]);
        return found;
    }
    struct tar *t = path_is_file(path) ? tar_open(path) : NULL;
    struct tar_entry e;
    for (int i = 0; t && i < LOOK_AT && !found && tar_next(t, &e) == TAR_ENTRY; i++)
        found = e.kind == TAR_FILE && part_of(e.path) < PARTS;
    tar_close(t);
    return found;
}

/* Reads a small file of a folder; one that is missing leaves the sample as it is. */
static int read_small(struct stl10 *set, struct sample *s, const char *name, int64_t most)
{
    char *path = name ? path_join(set->path, name) : NULL;
    int64_t size;
    int result = 0;
    if (path && path_is_file(path)) {
        s->file = path;
        const int fd = regular_file_open(path, &size);
        if (fd < 0)
            result = -1;
        else
            close(fd);
        if (result == 0)
            result = size > most ? sample_fail(s, "more than %lld bytes", (long long)most)
                                 : sample_read_file(s);
    }
    free(path);
    s->file = set->path;
    s->member = name;
    return result;
}

static int find_in_folder(struct stl10 *set)
{
    for (int part = 0; part < PARTS; part++)
        set->has[part] = folder_has(set->path, image_files[part]);
    if (!set->has[set->part])
        return 0;
    set->file = path_join(set->path, image_files[set->part]);
    const int fd = set->file ? regular_file_open(set->file, &set->bytes) : -1;
    if (fd < 0)
        return -1;
    close(fd);
    return read_small(set, &set->labels, label_files[set->part], MAX_LABELS) ||
                   read_small(set, &set->names, names_file, MAX_NAMES)
               ? -1
               : 0;
}

/* Reads a small entry of an archive; of several with one name the first one counts. */
static int read_entry(struct stl10 *set, struct tar *t, const struct tar_entry *e, struct sample *s,
                      const char *name, int64_t most)
{
    if (s->file || !is_named(e->path, name))
        return 0;
    s->file = set->path;
    s->member = name;
    if (e->size > most)
        return sample_fail(s, "more than %lld bytes", (long long)most);
    return sample_reserve(s, (size_t)e->size) || tar_read(t, s->buffer, e->size) ? -1 : 0;
}

static int look_at_entry(struct stl10 *set, struct tar *t, const struct tar_entry *e)
{
    const int part = part_of(e->path);
    if (part == PARTS)
        return read_entry(set, t, e, &set->labels, label_files[set->part], MAX_LABELS) ||
                       read_entry(set, t, e, &set->names, names_file, MAX_NAMES)
                   ? -1
                   : 0;
    if (part == set->part && !set->has[part]) {
        set->offset = e->offset;
        set->bytes = e->size;
    }
    set->has[part] = true;
    return 0;
}

static int find_in_archive(struct stl10 *set)
{
    struct tar *t = tar_open(set->path);
    struct tar_entry e;
    enum tar_result found;
    int result = t ? 0 : -1;
    while (result == 0 && (found = tar_next(t, &e)) != TAR_END)
        result = found == TAR_FAILED ? -1 : e.kind == TAR_FILE ? look_at_entry(set, t, &e) : 0;
    tar_close(t);
    return result;
}

/* ---- checks ---- */

static int check_labels(struct stl10 *set)
{
    const char *file = label_files[set->part];
    if (!file)
        return 0;
    if (set->labels.size == 0)
        return fail("%s: has no %s", set->path, file);
    if ((int64_t)set->labels.size != set->count)
        return fail("%s: %s: %zu labels for %lld images", set->path, file, set->labels.size,
                    (long long)set->count);
    for (int64_t i = 0; i < set->count; i++)
        if (set->labels.bytes[i] < 1 || set->labels.bytes[i] > CLASSES)
            return fail("%s: %s: label %d at byte %lld; labels are 1 to %d", set->path, file,
                        set->labels.bytes[i], (long long)i, CLASSES);
    return 0;
}

/* Takes the names of the classes, if there is a file of them. */
static int take_names(struct stl10 *set)
{
    if (set->names.size == 0)
        return 0;
    set->text = strndup((const char *)set->names.bytes, set->names.size);
    if (!set->text)
        return fail_memory(set->path);
    int n = 0;
    char *rest = set->text;
    for (char *line; (line = strsep(&rest, "\r\n"));) {
        if (!*line)
            continue;
        if (n < CLASSES)
            set->class_names[n] = line;
        n++;
    }
    return n == CLASSES ? 0 : sample_fail(&set->names, "%d names of %d classes", n, CLASSES);
}

/* ---- the format ---- */

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    struct stl10 *s = set->state = calloc(1, sizeof *s);
    if (!s)
        return fail_memory(options->path);
    s->path = set->name;
    s->is_folder = path_is_folder(options->path);
    while (strcmp(options->split, splits[s->part]) != 0)
        s->part++;
    if (s->is_folder ? find_in_folder(s) : find_in_archive(s))
        return -1;
    if (options->hold && s->has[TEST])
        return part_refuse_hold(options->path);
    if (!s->has[s->part])
        return part_missing(options->path, options->split);
    if (s->bytes == 0 || s->bytes % PIXELS != 0)
        return fail("%s: %s: %lld bytes are no whole number of images of %d bytes", s->path,
                    image_files[s->part], (long long)s->bytes, PIXELS);
    s->count = s->bytes / PIXELS;
    if (check_labels(s) || take_names(s))
        return -1;
    set->count = s->count;
    set->classes = s->labels.size ? CLASSES : 0;
    set->native_size = SIDE;
    set->class_names = s->names.size && s->labels.size ? s->class_names : NULL;
    set->in_sequence = set->rewinds = !s->is_folder && s->offset < 0;
    set->costly = true;
    return 0;
}

static int64_t label(const struct dataset *set, int64_t i)
{
    const struct stl10 *s = set->state;
    return s->labels.size ? s->labels.bytes[i] - 1 : -1;
}

/* Turns the planes in the sample's buffer, which hold their columns, into pixels in rows. */
static void finish(const struct dataset *set, int64_t i, struct sample *out)
{
    uint8_t planes[PIXELS];
    memcpy(planes, out->buffer, PIXELS);
    for (size_t y = 0; y < SIDE; y++)
        for (size_t x = 0; x < SIDE; x++)
            for (size_t c = 0; c < 3; c++)
                out->buffer[3 * (SIDE * y + x) + c] = planes[PLANE * c + SIDE * x + y];
    out->width = out->height = SIDE;
    out->label = label(set, i);
}

static int get(const struct dataset *set, int64_t i, struct sample *out)
{
    const struct stl10 *s = set->state;
    out->file = s->file ? s->file : s->path;
    out->member = NULL;
    if (sample_read_part(out, s->offset + i * PIXELS, PIXELS))
        return -1;
    finish(set, i, out);
    return 0;
}

static void origin(const struct dataset *set, int64_t i, struct dataset_origin *out)
{
    const struct stl10 *s = set->state;
    *out = s->file ? (struct dataset_origin){s->file, NULL, i}
                   : (struct dataset_origin){s->path, image_files[s->part], i};
}

/* Opens the archive and moves to the images. */
static int find_images(struct stl10 *s)
{
    struct tar_entry e;
    enum tar_result found;
    s->tar = tar_open(s->path);
    if (!s->tar)
        return -1;
    while ((found = tar_next(s->tar, &e)) == TAR_ENTRY)
        if (e.kind == TAR_FILE && part_of(e.path) == s->part)
            return e.size == s->bytes ? 0 : fail("%s: changed while it was read", s->path);
    return found == TAR_FAILED ? -1 : fail("%s: changed while it was read", s->path);
}

static enum dataset_result next(struct dataset *set, struct sample *out)
{
    struct stl10 *s = set->state;
    if (s->next == s->count)
        return DATASET_END;
    out->file = s->path;
    out->member = NULL;
    if ((!s->tar && find_images(s)) || sample_reserve(out, PIXELS) ||
        tar_read(s->tar, out->buffer, PIXELS)) {
        set->fatal = true;
        return DATASET_FAILED;
    }
    finish(set, s->next++, out);
    return DATASET_SAMPLE;
}

static int rewind_set(struct dataset *set)
{
    struct stl10 *s = set->state;
    tar_close(s->tar);
    s->tar = NULL;
    s->next = 0;
    return 0;
}

static void close_set(struct dataset *set)
{
    struct stl10 *s = set->state;
    if (s) {
        tar_close(s->tar);
        sample_free(&s->labels);
        sample_free(&s->names);
        free(s->file);
        free(s->text);
    }
    free(s);
}

const struct dataset_format dataset_stl10 = {.recognize = recognize,
                                             .open = open_set,
                                             .get = get,
                                             .label = label,
                                             .origin = origin,
                                             .next = next,
                                             .rewind = rewind_set,
                                             .close = close_set};
