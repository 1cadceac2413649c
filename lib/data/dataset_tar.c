/* tar: archives of images: one, a brace list of them, or those that commands deliver. Labels are in
 * KEY.cls beside KEY.jpg (or .jpeg, .png), in digits, as in WebDataset. If there is no .cls in any
 * archive, folders are classes, as in a folder. Links are followed as a folder's are (tar_links.h).
 * Regular files that are not compressed are indexed: their headers are read once, and then each
 * image from its place in the file. */
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
#include "data/tar.h"
#include "data/tar_reader.h"

/* The place of an image's bytes. */
struct tar_place {
    int64_t offset, size;
    int64_t archive; /* index of the archive's path */
};

struct tar_set {
    char **paths; /* of the archives, if they are files */
    int64_t n;
    struct tar_reader *reader;
    /* For an indexed set. */
    struct archive_images images;
    struct tar_place *places; /* places of the items from which the images were selected */
};

static enum dataset_result next(struct dataset *set, struct sample *s)
{
    const struct tar_set *t = set->state;
    struct tar_found f = {.sample = *s};
    const enum dataset_result result = tar_reader_next(t->reader, &f);
    *s = f.sample;
    return result;
}

static int begin_again(struct dataset *set)
{
    const struct tar_set *t = set->state;
    tar_reader_rewind(t->reader);
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

static int add_item(struct found_items *l, struct tar_found *f)
{
    struct tar_item *items = grow(l->items, l->n, &l->items_capacity, sizeof *items);
    l->items = items ? items : l->items;
    int64_t *labels = grow(l->labels, l->n, &l->labels_capacity, sizeof *labels);
    l->labels = labels ? labels : l->labels;
    struct tar_place *places = grow(l->places, l->n, &l->places_capacity, sizeof *places);
    l->places = places ? places : l->places;
    if (!items || !labels || !places)
        return sample_fail(&f->sample, "out of memory");
    items[l->n] = (struct tar_item){f->sample.text, f->sample.link, f->archive};
    labels[l->n] = f->sample.label;
    places[l->n++] = (struct tar_place){f->offset, (int64_t)f->sample.size, f->archive};
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
    struct tar_found f = {0};
    enum dataset_result found;
    enum index_result result = INDEX_DONE;
    while (result == INDEX_DONE && (found = tar_reader_next(t->reader, &f)) != DATASET_END) {
        if (found == DATASET_FAILED)
            result = INDEX_FAILED;
        else if (f.offset < 0 && !f.sample.link)
            result = INDEX_COMPRESSED;
        else if (add_item(&l, &f))
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

/* Finds out which files there are, and whether they can be read again. */
static int find_files(struct dataset *set, const char *path)
{
    struct tar_set *t = set->state;
    if (has_braces(path)) {
        if (brace_expand(path, &t->paths, &t->n))
            return -1;
    } else if (!(t->paths = calloc(1, sizeof *t->paths)) || !(t->paths[0] = strdup(path)))
        return fail_memory(path);
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
    t->reader = tar_reader_of_files(set, (const char *const *)t->paths, t->n);
    return t->reader ? 0 : -1;
}

static int open_commands(struct dataset *set)
{
    struct tar_set *t = set->state;
    set->in_sequence = set->rewinds = true;
    t->reader = tar_reader_of_shards(set, set->shards);
    return t->reader ? 0 : -1;
}

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    struct tar_set *t = set->state = calloc(1, sizeof *t);
    if (!t)
        return fail_memory(options->path);
    set->layout = layout_new();
    if (!set->layout)
        return -1;
    set->costly = true;
    if (set->shards)
        return open_commands(set);
    if (find_files(set, options->path))
        return -1;
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
    tar_reader_free(t->reader);
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
