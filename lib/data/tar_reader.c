#include "data/tar_reader.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/dataset_format.h"
#include "data/decode.h"
#include "data/path.h"
#include "data/tar_links.h"
#include "data/tar_shard.h"

enum {
    MAX_LABEL = 1 << 24,
    LABEL_BYTES = 32, /* longest .cls */
    /* If more entries in a row than this hold no image, the archive is treated as endless. */
    MAX_SKIPPED = 1 << 20,
    MAX_OF_KEY = 16 /* largest number of images of one key, which wait for its label */
};

struct tar_reader {
    struct dataset *set;
    struct shards *shards;    /* or: */
    const char *const *paths; /* of files */
    int64_t n;
    int64_t archive;                       /* the present archive */
    struct tar_shard *tar;                 /* NULL: it is not open */
    char *key;                             /* the present key, or NULL */
    struct tar_found gathered[MAX_OF_KEY]; /* the images of the present key */
    int n_gathered;
    int64_t label;                      /* label of the present key; -1: none has been read */
    bool bad_label;                     /* the key's .cls cannot be read */
    struct tar_found ready[MAX_OF_KEY]; /* the previous key's; next_ready is the next to return */
    int n_ready, next_ready;
};

static const char *name_of(const struct tar_reader *t)
{
    return t->shards ? shards_name(t->shards, t->archive) : t->paths[t->archive];
}

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

static void forget_key(struct tar_reader *t)
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
static int close_key(struct tar_reader *t)
{
    struct dataset *set = t->set;
    int result = 0;
    if (t->n_gathered == 0 && (t->label >= 0 || t->bad_label))
        ignored_add(&set->ignored, ".cls without an image", 1);
    else if (t->bad_label) {
        fail("%s: %s.cls: not a number from 0 to %d", name_of(t), t->key, MAX_LABEL);
        result = dataset_bad_label(set);
    } else {
        t->n_ready = t->label >= 0 && t->n_gathered > 1 ? 1 : t->n_gathered;
        t->next_ready = 0;
        ignored_add(&set->ignored, "further images of a key with a .cls",
                    t->n_gathered - t->n_ready);
        for (int i = 0; i < t->n_ready; i++) {
            t->ready[i] = t->gathered[i];
            t->ready[i].sample.label = t->label;
            t->gathered[i] = (struct tar_found){0};
        }
    }
    forget_key(t);
    return result;
}

static int begin_key(struct tar_reader *t, const char *path)
{
    t->key = strndup(path, key_length(path));
    return t->key ? 0 : fail_memory(name_of(t));
}

/* Returns the next image that is ready in *f. Returns false if there is none. */
static bool hand_over(struct tar_reader *t, struct tar_found *f)
{
    if (t->next_ready == t->n_ready)
        return false;
    struct tar_found *ready = &t->ready[t->next_ready++];
    sample_free(&f->sample);
    *f = *ready;
    *ready = (struct tar_found){0};
    return true;
}

static void forget_all(struct tar_reader *t)
{
    forget_key(t);
    for (; t->next_ready < t->n_ready; t->next_ready++)
        sample_free(&t->ready[t->next_ready].sample);
}

/* Reads a .cls. */
static int take_label(struct tar_reader *t, const struct tar_entry *e)
{
    struct dataset *set = t->set;
    char text[LABEL_BYTES + 1] = "";
    if (e->kind == TAR_FILE && e->size <= LABEL_BYTES && tar_shard_read(t->tar, text, e->size))
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
static int take_image(struct tar_reader *t, const struct tar_entry *e, const char *path)
{
    struct tar_found *f = &t->gathered[t->n_gathered];
    struct sample *s = &f->sample;
    *f = (struct tar_found){
        .sample = {.label = -1, .file = name_of(t)}, .offset = e->offset, .archive = t->archive};
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
    return sample_reserve(s, (size_t)size) || tar_shard_read(t->tar, s->buffer, size) ? -1 : 0;
}

static int take_text(struct tar_reader *t, const struct tar_entry *e, const char *path)
{
    struct dataset *set = t->set;
    if (e->kind != TAR_FILE || e->size > LAYOUT_MAX_TEXT) {
        ignored_add_file(&set->ignored, basename(path));
        return 0;
    }
    char *text = calloc(1, (size_t)e->size + 1);
    int result = text ? tar_shard_read(t->tar, text, e->size) : fail_memory(name_of(t));
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
static bool is_of_key(const struct tar_reader *t, const char *path)
{
    const size_t length = key_length(path);
    return t->key && strlen(t->key) == length && strncmp(t->key, path, length) == 0 &&
           t->n_gathered < MAX_OF_KEY;
}

/* Reads an entry, if it is used. Returns -1 with a message if the archive is truncated in it, or if
 * set->fatal. */
static int take_entry(struct tar_reader *t, const struct tar_entry *e, const char *path)
{
    struct dataset *set = t->set;
    const enum entry_use use = use_of(set, e, path);
    if (use == USE_NOTHING)
        return 0;
    if (use == USE_TEXT)
        return take_text(t, e, path);
    if (!is_of_key(t, path) && ((t->key && close_key(t)) || begin_key(t, path))) {
        set->fatal = true;
        return -1;
    }
    return use == USE_LABEL ? take_label(t, e) : take_image(t, e, path);
}

static int open_archive(struct tar_reader *t)
{
    if (t->shards) {
        struct command *c = shards_begin(t->shards, t->archive);
        t->tar = c ? tar_shard_open_command(c, name_of(t)) : NULL;
    } else
        t->tar = tar_shard_open(name_of(t));
    return t->tar ? 0 : -1;
}

/* Closes the archive, and goes on to the next one. */
static int leave_archive(struct tar_reader *t)
{
    const int result = t->key ? close_key(t) : 0;
    tar_shard_close(t->tar);
    t->tar = NULL;
    t->archive++;
    return result;
}

/* Returns true if an archive that breaks off ends the pass over the set. A command that breaks off
 * is no damaged file: the next time it may deliver more. */
static bool ends_pass(const struct tar_reader *t)
{
    return t->shards || t->set->fatal || dataset_archive_broken(t->set);
}

/* Reads the archive's next entry. At the archive's end, or where it is truncated and the run should
 * go on, begins the next archive and sets *begun. Returns -1 with a message on failure. */
static int read_entry(struct tar_reader *t, bool *begun)
{
    struct tar_entry e;
    enum tar_result result = tar_shard_next(t->tar, &e);
    *begun = false;
    if (result == TAR_ENTRY) {
        char *path = strdup(e.path);
        if (!path)
            return fail_memory(name_of(t));
        path_normalize(path);
        const int taken = take_entry(t, &e, path);
        free(path);
        if (taken == 0)
            return 0;
    }
    if (result != TAR_END && ends_pass(t))
        return -1;
    if (result == TAR_ENTRY)
        forget_key(t); /* the key could not be read completely */
    *begun = true;
    return leave_archive(t);
}

enum dataset_result tar_reader_next(struct tar_reader *t, struct tar_found *f)
{
    for (int passed = 0; !hand_over(t, f); passed++) {
        if (t->archive == t->n)
            return DATASET_END;
        if (!t->tar && open_archive(t))
            return DATASET_FAILED;
        if (passed == MAX_SKIPPED) {
            fail("%s: %d entries in a row hold no image", name_of(t), passed);
            return DATASET_FAILED;
        }
        bool begun;
        if (read_entry(t, &begun))
            return DATASET_FAILED;
        if (begun)
            passed = 0;
    }
    return DATASET_SAMPLE;
}

/* ---- the reader ---- */

static struct tar_reader *reader_new(struct dataset *set, int64_t n)
{
    struct tar_reader *t = calloc(1, sizeof *t);
    if (!t) {
        fail_memory(set->name);
        return NULL;
    }
    t->set = set;
    t->n = n;
    t->label = -1;
    return t;
}

struct tar_reader *tar_reader_of_files(struct dataset *set, const char *const *paths, int64_t n)
{
    struct tar_reader *t = reader_new(set, n);
    if (t)
        t->paths = paths;
    return t;
}

struct tar_reader *tar_reader_of_shards(struct dataset *set, struct shards *shards)
{
    struct tar_reader *t = reader_new(set, shards_count(shards));
    if (t)
        t->shards = shards;
    return t;
}

void tar_reader_rewind(struct tar_reader *t)
{
    tar_shard_close(t->tar);
    t->tar = NULL;
    t->archive = 0;
    forget_all(t);
}

void tar_reader_free(struct tar_reader *t)
{
    if (!t)
        return;
    tar_reader_rewind(t);
    free(t);
}
