/* A folder per class with PNG and JPEG files in it and below it, decoded when they are asked for.
 * A folder whose sub-folders have no images holds images without labels. Hidden files are passed
 * over, links are followed. */
#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dataset_format.h"
#include "decode.h"
#include "fail.h"
#include "grow.h"
#include "signals.h"

struct entry {
    char *path;
    int64_t label;
};

struct folder {
    struct entry *entries;
    int64_t capacity;
};

static int by_bytes(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static int add_image(struct dataset *set, const char *path, int64_t label)
{
    struct folder *f = set->state;
    struct entry *grown = grow(f->entries, set->count, &f->capacity, sizeof *grown);
    if (grown)
        f->entries = grown;
    char *copy = grown ? strdup(path) : NULL;
    if (!copy)
        return fail("%s: out of memory", path);
    f->entries[set->count++] = (struct entry){copy, label};
    return 0;
}

/* One name on the way through the tree; `flat`: images that lie in the root itself are wanted, not
 * those of classes. */
static int visit(struct dataset *set, FTS *tree, FTSENT *e, bool flat)
{
    if (e->fts_level > 0 && e->fts_name[0] == '.') {
        fts_set(tree, e, FTS_SKIP);
        return 0;
    }
    switch (e->fts_info) {
    case FTS_D:
        if (e->fts_level == 1 && flat)
            fts_set(tree, e, FTS_SKIP);
        else if (e->fts_level == 1)
            set->classes++;
        return 0;
    case FTS_F:
        if ((e->fts_level == 1) == flat && decode_knows_name(e->fts_name))
            return add_image(set, e->fts_path, flat ? -1 : set->classes - 1);
        return 0;
    case FTS_DNR:
    case FTS_ERR:
    case FTS_NS:
        return fail("%s: %s", e->fts_path, strerror(e->fts_errno));
    default:
        return 0;
    }
}

static int walk(struct dataset *set, const char *root, bool flat)
{
    char *path = strdup(root);
    FTS *tree = path ? fts_open((char *[]){path, NULL}, FTS_LOGICAL | FTS_NOCHDIR, by_bytes) : NULL;
    int result = tree ? 0 : fail("%s: %s", root, strerror(errno));
    FTSENT *e = NULL;
    while (result == 0 && (errno = 0, e = fts_read(tree)))
        result = stop_check() ? -1 : visit(set, tree, e, flat);
    if (result == 0 && errno)
        result = fail("%s: %s", root, strerror(errno));
    if (tree)
        fts_close(tree);
    free(path);
    return result;
}

static int open_root(struct dataset *set, const char *path)
{
    if (walk(set, path, false))
        return -1;
    if (set->count == 0) {
        set->classes = 0;
        if (walk(set, path, true))
            return -1;
    }
    return set->count == 0 ? fail("%s: no PNG or JPEG file in it", path) : 0;
}

static int open_set(struct dataset *set, const struct dataset_place *place)
{
    set->costly = true;
    set->state = calloc(1, sizeof(struct folder));
    if (!set->state)
        return fail("%s: out of memory", place->path);
    const char *const names[] = {place->split, strcmp(place->split, "test") == 0 ? "val" : NULL};
    for (size_t i = 0; i < 2 && names[i]; i++) {
        char *part;
        if (asprintf(&part, "%s/%s", place->path, names[i]) < 0)
            return fail("%s: out of memory", place->path);
        const bool there = dataset_is_folder(part);
        const int result = there ? open_root(set, part) : 0;
        free(part);
        if (there)
            return result;
    }
    return open_root(set, place->path);
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct folder *f = set->state;
    s->label = f->entries[i].label;
    s->file = f->entries[i].path;
    s->member = NULL;
    return sample_read_file(s);
}

static int64_t label(const struct dataset *set, int64_t i)
{
    const struct folder *f = set->state;
    return f->entries[i].label;
}

static void close_set(struct dataset *set)
{
    struct folder *f = set->state;
    for (int64_t i = 0; f && i < set->count; i++)
        free(f->entries[i].path);
    if (f)
        free(f->entries);
    free(f);
}

const struct dataset_format dataset_folder = {.name = "folder",
                                              .recognize = dataset_is_folder,
                                              .open = open_set,
                                              .get = get,
                                              .label = label,
                                              .close = close_set};
