/* tar: archives of images, one or a brace list of them. Labels are in KEY.cls beside KEY.jpg (or
 * .jpeg, .png), in digits, as in WebDataset. If there is no .cls in any archive, folders are
 * classes, as in a folder. Links are followed as a folder's are (tar_links.h). Regular files that
 * are not compressed are indexed: their headers are read once, and then each image from its place
 * in the file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/grow.h"
#include "data/archive_images.h"
#include "data/brace_expand.h"
#include "data/dataset_format.h"
#include "data/decode.h"
#include "data/path.h"
#include "data/tar.h"

enum {
    MAX_LABEL = 1 << 24,
    LABEL_BYTES = 32, /* longest .cls */
    /* If more entries in a row than this hold no image, the archive is treated as endless. */
    MAX_SKIPPED = 1 << 20,
    MAX_OF_KEY = 16 /* largest number of images of one key, which wait for its label */
};

/* The place of an image's bytes. */
struct tar_place {
    int64_t offset, size;
    int64_t archive; /* index of the archive's path */
};

/* An image that was found, or a link that may lead to one. */
struct found {
    struct sample sample; /* its text is the path */
    int64_t offset;       /* of its bytes in the file; -1: in the sample, or a link */
};

struct tar_set {
    char **paths; /* of the archives */
    int64_t n;
    /* For an indexed set. */
    struct archive_images images;
    struct tar_place *places; /* places of the items from which the images were selected */
    /* For reading in sequence. */
    int64_t archive;                   /* the present archive */
    struct tar *tar;                   /* NULL: it is not open */
    char *key;                         /* the present key, or NULL */
    struct found gathered[MAX_OF_KEY]; /* the images of the present key */
    int n_gathered;
    int64_t label;                  /* label of the present key; -1: none has been read */
    bool bad_label;                 /* the key's .cls cannot be read */
    struct found ready[MAX_OF_KEY]; /* the previous key's; next_ready is the next to return */
    int n_ready, next_ready;
};

/* ---- names ---- */

/* Returns the length of the path's key, which is everything before the first dot of the file's
 * name. */
static size_t key_length(const char *path)
{
    const char *name = basename(path);
    return (size_t)(name - path) + strcspn(name, ".");
}

static bool is_hidden(const char *path)
{
    return *path == '.' || strstr(path, "/.");
}

static bool is_label(const char *path)
{
    const char *dot = strrchr(basename(path), '.');
    return dot && strcmp(dot, ".cls") == 0;
}

/* ---- one key after the other ---- */

static void forget_key(struct tar_set *t)
{
    for (int i = 0; i < t->n_gathered; i++)
        sample_free(&t->gathered[i].sample);
    free(t->key);
    t->key = NULL;
    t->n_gathered = 0;
    t->bad_label = false;
    t->label = -1;
}

/* Makes the images of the present key ready, since no further entry belongs to it. A label belongs
 * to one image: others with the same key, such as a mask, are left out. */
static int close_key(struct dataset *set)
{
    struct tar_set *t = set->state;
    int result = 0;
    if (t->n_gathered == 0 && (t->label >= 0 || t->bad_label))
        ignored_add(&set->ignored, ".cls without an image", 1);
    else if (t->bad_label) {
        fail("%s: %s.cls: not a number from 0 to %d", t->paths[t->archive], t->key, MAX_LABEL);
        result = dataset_bad_label(set);
    } else {
        t->n_ready = t->label >= 0 && t->n_gathered > 1 ? 1 : t->n_gathered;
        t->next_ready = 0;
        ignored_add(&set->ignored, "further images of a key with a .cls",
                    t->n_gathered - t->n_ready);
        for (int i = 0; i < t->n_ready; i++) {
            t->ready[i] = t->gathered[i];
            t->ready[i].sample.label = t->label;
            t->gathered[i] = (struct found){0};
        }
    }
    forget_key(t);
    return result;
}

static int begin_key(struct tar_set *t, const char *path)
{
    t->key = strndup(path, key_length(path));
    return t->key ? 0 : fail_memory(t->paths[t->archive]);
}

/* Returns the next image that is ready in *f. Returns false if there is none. */
static bool hand_over(struct tar_set *t, struct found *f)
{
    if (t->next_ready == t->n_ready)
        return false;
    struct found *ready = &t->ready[t->next_ready++];
    sample_free(&f->sample);
    *f = *ready;
    *ready = (struct found){0};
    return true;
}

static void forget_all(struct tar_set *t)
{
    forget_key(t);
    for (; t->next_ready < t->n_ready; t->next_ready++)
        sample_free(&t->ready[t->next_ready].sample);
}

/* Reads a .cls. */
static int take_label(struct dataset *set, const struct tar_entry *e)
{
    struct tar_set *t = set->state;
    char text[LABEL_BYTES + 1] = "";
    if (e->kind == TAR_FILE && e->size <= LABEL_BYTES && tar_read(t->tar, text, e->size))
        return -1;
    char *end;
    const long long label = strtoll(text, &end, 10);
    set->labels_in_samples = true;
    if (end == text || end[strspn(end, " \r\n")] != '\0' || label < 0 || label > MAX_LABEL)
        t->bad_label = true;
    else
        t->label = label;
    return 0;
}

/* Adds an image to the present key. Reads its bytes only if they cannot be read later. */
static int take_image(struct tar_set *t, const struct tar_entry *e, const char *path)
{
    struct found *f = &t->gathered[t->n_gathered];
    struct sample *s = &f->sample;
    *f = (struct found){.sample = {.label = -1, .file = t->paths[t->archive]}, .offset = e->offset};
    s->text = strdup(path);
    s->member = s->text;
    if (!s->text)
        return fail_memory(s->file);
    t->n_gathered++; /* from here on forget_key() frees it */
    if (e->link) {
        s->link = tar_link_target(path, e->link, e->kind == TAR_SYMBOLIC_LINK);
        if (!s->link && !(s->link = strdup("/"))) /* no entry has this name */
            return sample_fail(s, "out of memory");
        return 0;
    }
    s->size = (size_t)e->size;
    if (e->offset >= 0)
        return 0;
    /* A file that is too large becomes an empty one, which fails when it is decoded. */
    const int64_t size = e->size > SAMPLE_MAX_BYTES ? 0 : e->size;
    return sample_reserve(s, (size_t)size) || tar_read(t->tar, s->buffer, size) ? -1 : 0;
}

static int take_text(struct dataset *set, const struct tar_entry *e, const char *path)
{
    struct tar_set *t = set->state;
    if (e->kind != TAR_FILE || e->size > LAYOUT_MAX_TEXT) {
        ignored_add_file(&set->ignored, basename(path));
        return 0;
    }
    char *text = calloc(1, (size_t)e->size + 1);
    int result = text ? tar_read(t->tar, text, e->size) : fail_memory(t->paths[t->archive]);
    if (result == 0)
        result = layout_add_text(set->layout, path, text);
    free(text);
    return result;
}

/* ---- one entry after the other ---- */

enum entry_use { USE_NOTHING, USE_IMAGE, USE_LABEL, USE_TEXT };

/* Returns what an entry is used for, and counts an entry that is not used as ignored. A symbolic
 * link whose name has no extension may lead to a folder of images. */
static enum entry_use use_of(struct dataset *set, const struct tar_entry *e, const char *path)
{
    const char *name = basename(path);
    if (is_hidden(path))
        return USE_NOTHING;
    if (e->kind == TAR_SPARSE) {
        ignored_add(&set->ignored, "sparse files", 1);
        return USE_NOTHING;
    }
    if (decode_knows_name(name) || (e->kind == TAR_SYMBOLIC_LINK && !strchr(name, '.')))
        return USE_IMAGE;
    if (is_label(path))
        return USE_LABEL;
    if (layout_wants_text(path))
        return USE_TEXT;
    ignored_add_file(&set->ignored, name);
    return USE_NOTHING;
}

/* Returns true if the entry belongs to the present key, and that key has room for it. */
static bool is_of_key(const struct tar_set *t, const char *path)
{
    const size_t length = key_length(path);
    return t->key && strlen(t->key) == length && strncmp(t->key, path, length) == 0 &&
           t->n_gathered < MAX_OF_KEY;
}

/* Reads an entry, if it is used. Returns -1 with a message if the archive is truncated in it, or if
 * set->fatal. */
static int take_entry(struct dataset *set, const struct tar_entry *e, const char *path)
{
    struct tar_set *t = set->state;
    const enum entry_use use = use_of(set, e, path);
    if (use == USE_NOTHING)
        return 0;
    if (use == USE_TEXT)
        return take_text(set, e, path);
    if (!is_of_key(t, path) && ((t->key && close_key(set)) || begin_key(t, path))) {
        set->fatal = true;
        return -1;
    }
    return use == USE_LABEL ? take_label(set, e) : take_image(t, e, path);
}

static int open_archive(struct tar_set *t)
{
    t->tar = tar_open(t->paths[t->archive]);
    return t->tar ? 0 : -1;
}

/* Closes the archive, and goes on to the next one. */
static int leave_archive(struct dataset *set)
{
    struct tar_set *t = set->state;
    const int result = t->key ? close_key(set) : 0;
    tar_close(t->tar);
    t->tar = NULL;
    t->archive++;
    return result;
}

/* Reads the archive's next entry. At the archive's end, or where it is truncated and the run should
 * go on, begins the next archive and sets *begun. Returns -1 with a message on failure. */
static int read_entry(struct dataset *set, bool *begun)
{
    struct tar_set *t = set->state;
    struct tar_entry e;
    enum tar_result result = tar_next(t->tar, &e);
    *begun = false;
    if (result == TAR_ENTRY) {
        char *path = strdup(e.path);
        if (!path)
            return fail_memory(t->paths[t->archive]);
        path_normalize(path);
        const int taken = take_entry(set, &e, path);
        free(path);
        if (taken == 0)
            return 0;
    }
    if (result != TAR_END && (set->fatal || dataset_archive_broken(set)))
        return -1;
    if (result == TAR_ENTRY)
        forget_key(t); /* the key could not be read completely */
    *begun = true;
    return leave_archive(set);
}

/* Finds the next image or link. */
static enum dataset_result next_found(struct dataset *set, struct found *f)
{
    struct tar_set *t = set->state;
    for (int passed = 0; !hand_over(t, f); passed++) {
        if (t->archive == t->n)
            return DATASET_END;
        if (!t->tar && open_archive(t))
            return DATASET_FAILED;
        if (passed == MAX_SKIPPED) {
            fail("%s: %d entries in a row hold no image", t->paths[t->archive], passed);
            return DATASET_FAILED;
        }
        bool begun;
        if (read_entry(set, &begun))
            return DATASET_FAILED;
        if (begun)
            passed = 0;
    }
    return DATASET_SAMPLE;
}

static enum dataset_result next(struct dataset *set, struct sample *s)
{
    struct found f = {.sample = *s};
    const enum dataset_result result = next_found(set, &f);
    *s = f.sample;
    return result;
}

static int begin_again(struct dataset *set)
{
    struct tar_set *t = set->state;
    tar_close(t->tar);
    t->tar = NULL;
    t->archive = 0;
    forget_all(t);
    return 0;
}

/* ---- the index ---- */

/* All images and links of a set, from which archive_images_select() chooses. */
struct found_items {
    struct tar_item *items;
    int64_t *labels;
    struct tar_place *places;
    int64_t n, items_capacity, labels_capacity, places_capacity;
};

static int add_item(struct tar_set *t, struct found_items *l, struct found *f)
{
    /* The last image of an archive is returned when the next archive has been begun. */
    int64_t archive = t->archive < t->n ? t->archive : t->n - 1;
    while (t->paths[archive] != f->sample.file)
        archive--;
    struct tar_item *items = grow(l->items, l->n, &l->items_capacity, sizeof *items);
    l->items = items ? items : l->items;
    int64_t *labels = grow(l->labels, l->n, &l->labels_capacity, sizeof *labels);
    l->labels = labels ? labels : l->labels;
    struct tar_place *places = grow(l->places, l->n, &l->places_capacity, sizeof *places);
    l->places = places ? places : l->places;
    if (!items || !labels || !places)
        return sample_fail(&f->sample, "out of memory");
    items[l->n] = (struct tar_item){f->sample.text, f->sample.link, archive};
    labels[l->n] = f->sample.label;
    places[l->n++] = (struct tar_place){f->offset, (int64_t)f->sample.size, archive};
    f->sample.text = f->sample.link = NULL;
    return 0;
}

static void free_items(struct found_items *l)
{
    for (int64_t i = 0; i < l->n; i++) {
        free((char *)l->items[i].path);
        free((char *)l->items[i].link);
    }
    free(l->items);
    free(l->labels);
    free(l->places);
}

enum index_result { INDEX_FAILED = -1, INDEX_DONE, INDEX_COMPRESSED };

/* Finds the place of each image's bytes. In a compressed archive there is no such place, and the
 * set must be read in sequence. */
static enum index_result index_images(struct dataset *set, const struct dataset_options *options)
{
    struct tar_set *t = set->state;
    struct found_items l = {0};
    struct found f = {0};
    enum dataset_result found;
    enum index_result result = INDEX_DONE;
    while (result == INDEX_DONE && (found = next_found(set, &f)) != DATASET_END) {
        if (found == DATASET_FAILED)
            result = INDEX_FAILED;
        else if (f.offset < 0 && !f.sample.link)
            result = INDEX_COMPRESSED;
        else if (add_item(t, &l, &f))
            result = INDEX_FAILED;
    }
    sample_free(&f.sample);
    if (result == INDEX_DONE &&
        archive_images_select(set, options, l.items, l.labels, l.n, &t->images))
        result = INDEX_FAILED;
    if (result == INDEX_DONE) {
        set->count = t->images.n;
        t->places = l.places;
        l.places = NULL;
    }
    free_items(&l);
    return result;
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

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    struct tar_set *t = set->state = calloc(1, sizeof *t);
    if (!t)
        return fail_memory(options->path);
    t->label = -1;
    set->layout = layout_new();
    if (!set->layout)
        return -1;
    set->costly = true;
    if (has_braces(options->path)) {
        if (brace_expand(options->path, &t->paths, &t->n))
            return -1;
    } else if (!(t->paths = calloc(1, sizeof *t->paths)) || !(t->paths[0] = strdup(options->path)))
        return fail_memory(options->path);
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
    /* The first file of an archive shows whether the archive is compressed. */
    const enum index_result result = index_images(set, options);
    if (result == INDEX_FAILED)
        return -1;
    if (result == INDEX_DONE) {
        set->in_sequence = false;
        return 0;
    }
    set->labels_in_samples = false;
    set->bad_labels = 0;
    set->ignored = (struct ignored){0};
    layout_free(set->layout);
    set->layout = layout_new();
    return set->layout ? begin_again(set) : -1;
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct tar_set *t = set->state;
    const struct tar_place *p = &t->places[t->images.list[i].source];
    s->file = t->paths[p->archive];
    s->member = t->images.list[i].path;
    s->label = t->images.list[i].label;
    return sample_read_part(s, p->offset, p->size);
}

static int64_t label(const struct dataset *set, int64_t i)
{
    return ((const struct tar_set *)set->state)->images.list[i].label;
}

static const char *image_name(const struct dataset *set, int64_t i)
{
    return layout_name(set->layout, ((const struct tar_set *)set->state)->images.list[i].path);
}

static void origin(const struct dataset *set, int64_t i, struct dataset_origin *out)
{
    const struct tar_set *t = set->state;
    const struct archive_image *image = &t->images.list[i];
    *out = (struct dataset_origin){t->paths[t->places[image->source].archive], image->path, -1};
}

static void close_set(struct dataset *set)
{
    struct tar_set *t = set->state;
    if (!t)
        return;
    archive_images_free(&t->images);
    free(t->places);
    tar_close(t->tar);
    forget_all(t);
    brace_expand_free(t->paths, t->n);
    free(t);
}

const struct dataset_format dataset_tar = {.recognize = recognize,
                                           .open = open_set,
                                           .get = get,
                                           .label = label,
                                           .image_name = image_name,
                                           .origin = origin,
                                           .next = next,
                                           .rewind = begin_again,
                                           .close = close_set};
