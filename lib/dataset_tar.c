/* Archives of images, one or a brace list of them, in WebDataset's layout: KEY.jpg (or .jpeg, .png)
 * and KEY.cls, the label in digits, are neighbours. An image without .cls belongs to the class that
 * is named like the folder it lies in. Regular files that are not compressed are indexed: their
 * headers are read once, and then each image where it lies. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "braces.h"
#include "classes.h"
#include "dataset_format.h"
#include "decode.h"
#include "fail.h"
#include "grow.h"
#include "tar.h"

enum {
    MAX_LABEL = 1 << 24,
    LABEL_BYTES = 32, /* that a .cls may have */
    /* Entries in a row that hold no image: what an archive without an end would bring. */
    MAX_PASSED_OVER = 1 << 20
};

struct place {
    int64_t offset, size;
    int64_t label;
    char *name;
    char *class_name; /* until it is numbered */
    int32_t archive;
};

struct tars {
    char **paths;
    int64_t n;
    struct place *places;
    int64_t capacity;
    /* Reading in sequence. */
    int64_t archive;
    struct tar *tar;
    bool train_wanted;      /* of folders "train", "test" or "val" */
    struct sample gathered; /* what of a key was read so far; text NULL: no image yet */
    char *key;
    int64_t offset; /* of the gathered image, or -1 */
};

/* ---- names ---- */

/* The path without what follows the first dot of the file's name. */
static size_t key_length(const char *path)
{
    const char *name = basename(path);
    return (size_t)(name - path) + strcspn(name, ".");
}

/* The name of the folder that a file lies in, or NULL. */
static char *folder_of(const char *path)
{
    const char *end = basename(path);
    while (end > path && end[-1] == '/')
        end--;
    const char *start = end;
    while (start > path && start[-1] != '/')
        start--;
    const size_t n = (size_t)(end - start);
    return n == 0 || (n == 1 && *start == '.') ? NULL : strndup(start, n);
}

/* Which split a path's folders tell: 0 none, 1 train, 2 test. */
static int split_of(const char *path)
{
    for (const char *at = path, *slash; (slash = strchr(at, '/')); at = slash + 1) {
        const size_t n = (size_t)(slash - at);
        if (n == 5 && strncmp(at, "train", n) == 0)
            return 1;
        if ((n == 4 && strncmp(at, "test", n) == 0) || (n == 3 && strncmp(at, "val", n) == 0))
            return 2;
    }
    return 0;
}

/* ---- one image after the other ---- */

static void forget_key(struct tars *t)
{
    free(t->key);
    free(t->gathered.text);
    free(t->gathered.class_text);
    t->key = t->gathered.text = t->gathered.class_text = NULL;
    t->gathered.label = -1;
}

/* Hands over what was gathered under a key, if it is an image: 1, else 0. */
static int emit(struct tars *t, struct sample *s, int64_t *offset)
{
    if (!t->gathered.text)
        return 0;
    sample_free(s);
    *s = t->gathered;
    s->member = s->text;
    s->class_name = s->label < 0 ? s->class_text : NULL;
    *offset = t->offset;
    t->gathered = (struct sample){.label = -1};
    return 1;
}

static int begin_key(struct tars *t, const char *path)
{
    forget_key(t);
    t->key = strndup(path, key_length(path));
    return t->key ? 0 : fail("%s: out of memory", t->paths[t->archive]);
}

/* A .cls. A text that is no label leaves the rest of its archive in doubt. */
static int take_label(struct tars *t, const struct tar_entry *e)
{
    char text[LABEL_BYTES + 1] = "";
    const char *path = t->paths[t->archive];
    if (e->size <= LABEL_BYTES && tar_read(t->tar, text, e->size))
        return -1;
    char *end;
    const long long label = strtoll(text, &end, 10);
    if (end == text || end[strspn(end, " \r\n")] != '\0' || label < 0 || label > MAX_LABEL)
        return fail("%s: %s: not a number from 0 to %d", path, e->path, MAX_LABEL);
    t->gathered.label = label;
    return 0;
}

/* The image of the present key; its bytes only where they cannot be fetched later. */
static int take_image(struct tars *t, const struct tar_entry *e)
{
    struct sample *s = &t->gathered;
    s->file = t->paths[t->archive];
    s->member = e->path;
    s->width = s->height = 0;
    s->size = (size_t)e->size;
    t->offset = e->offset;
    if (e->offset < 0) {
        /* One that is too large fails when it is decoded, as an empty file does. */
        const int64_t size = e->size > SAMPLE_MAX_BYTES ? 0 : e->size;
        if (sample_reserve(s, (size_t)size) || tar_read(t->tar, s->buffer, size))
            return -1;
    }
    s->text = strdup(e->path);
    s->class_text = folder_of(e->path);
    return s->text ? 0 : sample_fail(s, "out of memory");
}

static int next_archive(struct tars *t)
{
    tar_close(t->tar);
    t->tar = tar_open(t->paths[t->archive]);
    return t->tar ? 0 : -1;
}

/* Goes on to the archive after this one. 1 if the last key of this one was an image. */
static int leave_archive(struct tars *t, struct sample *s, int64_t *offset)
{
    const int found = emit(t, s, offset);
    forget_key(t);
    tar_close(t->tar);
    t->tar = NULL;
    t->archive++;
    return found;
}

/* The next image: 1, 0 at the end, -1. *offset: where its bytes lie in its archive; or -1: they are
 * in the sample. */
static int next_image(struct dataset *set, struct sample *s, int64_t *offset)
{
    struct tars *t = set->state;
    for (int passed = 0; t->archive < t->n; passed++) {
        if (!t->tar && next_archive(t))
            return -1;
        struct tar_entry e;
        const int result = tar_next(t->tar, &e);
        if (result <= 0) {
            if (result < 0 && dataset_broke_off(set))
                return -1;
            if (leave_archive(t, s, offset))
                return 1;
            passed = 0;
            continue;
        }
        if (passed == MAX_PASSED_OVER)
            return fail("%s: %d entries in a row hold no image", t->paths[t->archive], passed);
        const char *name = basename(e.path), *dot = strrchr(name, '.');
        const bool image = decode_knows_name(name), label = dot && strcmp(dot, ".cls") == 0;
        const int split = split_of(e.path);
        if (*name == '.' || (!image && !label) || (split && (split == 1) != t->train_wanted))
            continue;
        const size_t length = key_length(e.path);
        const bool same = t->key && strlen(t->key) == length &&
                          strncmp(t->key, e.path, length) == 0 && !(image && t->gathered.text);
        const int found = same ? 0 : emit(t, s, offset);
        if (!same && begin_key(t, e.path))
            return -1;
        if (label ? take_label(t, &e) : take_image(t, &e)) {
            if (dataset_broke_off(set))
                return -1;
            forget_key(t); /* what was read of it is not whole */
            leave_archive(t, s, offset);
        }
        if (found)
            return 1;
    }
    return 0;
}

static int next(struct dataset *set, struct sample *s)
{
    int64_t offset;
    return next_image(set, s, &offset);
}

static int begin_again(struct dataset *set)
{
    struct tars *t = set->state;
    tar_close(t->tar);
    t->tar = NULL;
    t->archive = 0;
    forget_key(t);
    return 0;
}

/* ---- where they lie ---- */

static int add_place(struct dataset *set, struct sample *s, int64_t offset, int64_t archive)
{
    struct tars *t = set->state;
    struct place *grown = grow(t->places, set->count, &t->capacity, sizeof *grown);
    if (!grown)
        return sample_fail(s, "out of memory");
    t->places = grown;
    t->places[set->count++] =
        (struct place){offset, (int64_t)s->size, s->label, s->text, NULL, (int32_t)archive};
    s->text = NULL;
    if (s->class_name) {
        t->places[set->count - 1].class_name = s->class_text;
        s->class_text = NULL;
    }
    return 0;
}

static int number_classes(struct dataset *set)
{
    struct tars *t = set->state;
    struct classes classes = {0};
    int result = 0;
    for (int64_t i = 0; i < set->count && result == 0; i++)
        if (t->places[i].class_name)
            result = classes_add(&classes, t->places[i].class_name);
    for (int64_t i = 0; i < set->count && result == 0; i++) {
        struct place *p = &t->places[i];
        if (p->class_name)
            p->label = classes_number(&classes, p->class_name);
        free(p->class_name);
        p->class_name = NULL;
        if (p->label >= set->classes)
            set->classes = (int)p->label + 1;
    }
    classes_free(&classes);
    return result;
}

/* Notes where each image lies. 1: an archive is compressed, and the set has to be read in sequence.
 */
static int index_images(struct dataset *set)
{
    struct tars *t = set->state;
    struct sample s = {0};
    int64_t offset;
    int result;
    while ((result = next_image(set, &s, &offset)) > 0 && offset >= 0) {
        /* It may have been the last of the archive before. */
        int64_t archive = t->archive < t->n ? t->archive : t->n - 1;
        while (t->paths[archive] != s.file)
            archive--;
        if (add_place(set, &s, offset, archive)) {
            result = -1;
            break;
        }
    }
    sample_free(&s);
    return result;
}

static void forget_places(struct dataset *set)
{
    struct tars *t = set->state;
    for (int64_t i = 0; i < set->count; i++) {
        free(t->places[i].name);
        free(t->places[i].class_name);
    }
    free(t->places);
    t->places = NULL;
    set->count = t->capacity = 0;
}

/* ---- the format ---- */

static bool has_braces(const char *path)
{
    return strchr(path, '{') && access(path, F_OK) != 0;
}

static bool recognize(const char *path)
{
    struct stat st;
    if (strcmp(path, "-") == 0 || has_braces(path))
        return true;
    return stat(path, &st) == 0 && !S_ISDIR(st.st_mode) &&
           (!S_ISREG(st.st_mode) || tar_recognize(path));
}

static int open_set(struct dataset *set, const struct dataset_place *place)
{
    struct tars *t = set->state = calloc(1, sizeof *t);
    if (!t)
        return fail("%s: out of memory", place->path);
    t->gathered.label = -1;
    t->train_wanted = strcmp(place->split, "test") != 0;
    set->costly = true;
    if (has_braces(place->path)) {
        if (braces_expand(place->path, &t->paths, &t->n))
            return -1;
    } else if (!(t->paths = calloc(1, sizeof *t->paths)) || !(t->paths[0] = strdup(place->path)))
        return fail("%s: out of memory", place->path);
    else
        t->n = 1;
    set->in_sequence = set->rewinds = true;
    for (int64_t i = 0; i < t->n; i++) {
        struct stat st;
        if (strcmp(t->paths[i], "-") == 0)
            set->rewinds = false;
        else if (stat(t->paths[i], &st) != 0)
            return fail("%s: %s", t->paths[i], strerror(errno));
        else if (!S_ISREG(st.st_mode))
            set->rewinds = false;
    }
    if (!set->rewinds)
        return 0;
    const int result = index_images(set);
    if (result < 0)
        return -1;
    if (result > 0) {
        forget_places(set);
        return begin_again(set);
    }
    set->in_sequence = false;
    if (set->count == 0)
        return fail("%s: no PNG or JPEG file in it", place->path);
    return number_classes(set);
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct tars *t = set->state;
    const struct place *p = &t->places[i];
    s->file = t->paths[p->archive];
    s->member = p->name;
    s->label = p->label;
    return sample_read_part(s, p->offset, p->size);
}

static int64_t label(const struct dataset *set, int64_t i)
{
    const struct tars *t = set->state;
    return t->places[i].label;
}

static void close_set(struct dataset *set)
{
    struct tars *t = set->state;
    if (!t)
        return;
    if (t->places)
        forget_places(set);
    tar_close(t->tar);
    forget_key(t);
    sample_free(&t->gathered);
    braces_free(t->paths, t->n);
    free(t);
}

const struct dataset_format dataset_tar = {.name = "tar",
                                           .recognize = recognize,
                                           .open = open_set,
                                           .get = get,
                                           .label = label,
                                           .next = next,
                                           .rewind = begin_again,
                                           .close = close_set};
