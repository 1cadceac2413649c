/* folder: a folder for each class with image files in it and below it, which are decoded
 * when they are used. A folder whose sub-folders have no images holds images without labels.
 * layout.h says which folders are parts and classes. Hidden files are left out, links are followed.
 *
 * The tree is read twice: first one image of each folder that may be a part or a class, so that the
 * layout can be settled, and then all images of the wanted part. */
#include <dirent.h>
#include <errno.h>
#include <fts.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/regular_file.h"
#include "base/stop.h"
#include "data/dataset_format.h"
#include "data/decode.h"
#include "data/part.h"
#include "data/path.h"

enum { MAX_LEVELS = 16 }; /* nested folders of which each is the only one in its parent */

struct folder_image {
    char *path;
    int64_t label;
};

struct folder_set {
    struct folder_image *images; /* as many as the set's count */
    int64_t capacity;
    size_t root; /* length of the data set's path with the slash; a path in the set begins there */
};

/* ---- walking through a tree ---- */

static int by_bytes(const FTSENT **a, const FTSENT **b)
{
    return strcmp((*a)->fts_name, (*b)->fts_name);
}

static FTS *open_tree(const char *root)
{
    char *path = strdup(root);
    FTS *tree = path ? fts_open((char *[]){path, NULL}, FTS_LOGICAL | FTS_NOCHDIR, by_bytes) : NULL;
    if (!tree)
        fail("%s: %s", root, strerror(errno));
    free(path);
    return tree;
}

enum walk_result { WALK_FAILED = -1, WALK_END, WALK_FILE };

/* Finds the next file, or the next link that leads nowhere. Skips hidden ones, and the folders for
 * which left_out(), unless it is NULL, returns true. */
static enum walk_result next_file(FTS *tree, const char *root, FTSENT **e,
                                  bool (*left_out)(const struct dataset *set, const FTSENT *e),
                                  const struct dataset *set)
{
    while (errno = 0, *e = fts_read(tree)) {
        if (stop_check())
            return WALK_FAILED;
        const bool hidden = (*e)->fts_level > 0 && (*e)->fts_name[0] == '.';
        if (hidden || ((*e)->fts_info == FTS_D && left_out && left_out(set, *e))) {
            fts_set(tree, *e, FTS_SKIP);
            continue;
        }
        switch ((*e)->fts_info) {
        case FTS_F:
        case FTS_SLNONE:
            return WALK_FILE;
        case FTS_DNR:
        case FTS_ERR:
        case FTS_NS:
            fail("%s: %s", (*e)->fts_path, strerror((*e)->fts_errno));
            return WALK_FAILED;
        default:
            break;
        }
    }
    if (errno == 0)
        return WALK_END;
    fail("%s: %s", root, strerror(errno));
    return WALK_FAILED;
}

/* ---- what the layout has to know ---- */

/* The contents of a folder. */
struct level {
    int folders; /* those with images in them or below them */
    char *last;  /* the name of the last of those folders */
    bool images, parts;
};

/* Adds the first image in a folder or below it to the layout. Sets *found to whether there is
 * one. */
static int add_first_image(struct dataset *set, const char *folder, bool *found)
{
    const struct folder_set *f = set->state;
    FTS *tree = open_tree(folder);
    FTSENT *e;
    *found = false;
    if (!tree)
        return -1;
    enum walk_result walked = WALK_FILE;
    while (!*found && (walked = next_file(tree, folder, &e, NULL, set)) == WALK_FILE)
        *found = e->fts_info == FTS_F && decode_knows_name(e->fts_name);
    const int result = walked == WALK_FAILED ? -1
                       : *found              ? layout_add_image(set->layout, e->fts_path + f->root)
                                             : 0;
    fts_close(tree);
    return result;
}

static bool is_folder(const struct dirent *e, const char *path)
{
    return e->d_type == DT_DIR ||
           ((e->d_type == DT_LNK || e->d_type == DT_UNKNOWN) && path_is_folder(path));
}

/* Adds one entry of a folder: the first image, a part, or an image of a sub-folder. */
static int look_at(struct dataset *set, const char *path, const struct dirent *e,
                   struct level *level)
{
    const struct folder_set *f = set->state;
    const char *name = e->d_name;
    if (!is_folder(e, path)) {
        if (level->images || !decode_knows_name(name) || !path_is_file(path))
            return 0;
        level->images = true;
        return layout_add_image(set->layout, path + f->root);
    }
    if (part_named(name, strlen(name)) != PART_NONE) {
        level->parts = true;
        if (layout_add_folder(set->layout, path + f->root))
            return -1;
    }
    bool found;
    if (add_first_image(set, path, &found))
        return -1;
    if (!found)
        return 0;
    level->folders++;
    free(level->last);
    level->last = strdup(name);
    return level->last ? 0 : fail_memory(path);
}

/* Adds the contents of a folder, with one image of each sub-folder. */
static int add_level(struct dataset *set, const char *folder, struct level *level)
{
    *level = (struct level){0};
    DIR *directory = opendir(folder);
    if (!directory)
        return fail("%s: %s", folder, strerror(errno));
    int result = 0;
    struct dirent *e;
    while (result == 0 && (errno = 0, e = readdir(directory))) {
        char *path = *e->d_name == '.' ? NULL : path_join(folder, e->d_name);
        if (path)
            result = look_at(set, path, e, level);
        else if (*e->d_name != '.')
            result = -1;
        free(path);
    }
    if (result == 0 && errno)
        result = fail("%s: %s", folder, strerror(errno));
    closedir(directory);
    return result;
}

/* Adds one of Tiny ImageNet's texts if it exists. */
static int add_text(struct dataset *set, const char *folder, const char *name)
{
    const struct folder_set *f = set->state;
    char *path = path_join(folder, name), *text = NULL;
    int result = path ? 0 : -1;
    if (path && path_is_file(path)) {
        result = regular_file_text(path, LAYOUT_MAX_TEXT, &text);
        if (result == 0)
            result = layout_add_text(set->layout, path + f->root, text);
    }
    free(text);
    free(path);
    return result;
}

/* Adds the folders of a part, with one image of each. */
static int add_part(struct dataset *set, const char *folder, const char *name)
{
    struct level level = {0};
    char *part = path_join(folder, name);
    int result = part && !add_level(set, part, &level) ? 0 : -1;
    if (result == 0)
        result = add_text(set, part, "val_annotations.txt");
    free(level.last);
    free(part);
    return result;
}

static int add_parts(struct dataset *set, const char *folder)
{
    DIR *directory = opendir(folder);
    if (!directory)
        return fail("%s: %s", folder, strerror(errno));
    int result = add_text(set, folder, "wnids.txt");
    struct dirent *e;
    while (result == 0 && (e = readdir(directory))) {
        const enum part part = part_named(e->d_name, strlen(e->d_name));
        char *path = part == PART_NONE ? NULL : path_join(folder, e->d_name);
        if (part != PART_NONE && !path)
            result = -1;
        else if (part != PART_NONE && part != PART_UNLABELED && is_folder(e, path))
            result = add_part(set, folder, e->d_name);
        free(path);
    }
    closedir(directory);
    return result;
}

/* Adds the levels of the tree from the top down to the root. It goes down as long as a folder holds
 * one other folder and nothing else. */
static int add_levels(struct dataset *set, const char *root)
{
    char *folder = path_join(root, "");
    int result = folder ? 0 : -1;
    for (int i = 0; i < MAX_LEVELS && result == 0; i++) {
        struct level level;
        result = add_level(set, folder, &level);
        if (result == 0 && level.parts)
            result = add_parts(set, folder);
        char *next = NULL;
        if (result == 0 && !level.parts && !level.images && level.folders == 1) {
            next = path_join(folder, level.last);
            result = next ? 0 : -1;
        }
        free(level.last);
        if (!next)
            break;
        free(folder);
        folder = next;
    }
    free(folder);
    return result;
}

/* ---- the images ---- */

static int add_image(struct dataset *set, const char *path, int64_t label)
{
    struct folder_set *f = set->state;
    struct folder_image *grown = grow(f->images, set->count, &f->capacity, sizeof *grown);
    if (grown)
        f->images = grown;
    char *copy = grown ? strdup(path) : NULL;
    if (!copy)
        return fail_memory(path);
    f->images[set->count++] = (struct folder_image){copy, label};
    return 0;
}

/* Adds a file if it is an image of the part. Otherwise counts it by its kind. */
static int take_file(struct dataset *set, const FTSENT *e)
{
    const struct folder_set *f = set->state;
    int64_t label;
    if (e->fts_info == FTS_SLNONE)
        ignored_add(&set->ignored, "links that lead nowhere", 1);
    else if (!decode_knows_name(e->fts_name)) {
        if (!layout_wants_text(e->fts_name))
            ignored_add_file(&set->ignored, e->fts_name);
    } else if (dataset_accept_image(set, layout_find(set->layout, e->fts_path + f->root, &label)))
        return add_image(set, e->fts_path, label);
    return 0;
}

/* Returns true if the folder is another part than the wanted one. */
static bool is_other_part(const struct dataset *set, const FTSENT *e)
{
    const struct folder_set *f = set->state;
    const char *part = layout_part(set->layout), *path = e->fts_path + f->root;
    const size_t n = strlen(path);
    return e->fts_level == 1 && layout_has_parts(set->layout) &&
           part_named(e->fts_name, strlen(e->fts_name)) != PART_NONE &&
           !(strncmp(part, path, n) == 0 && part[n] == '/');
}

/* Adds the images of the part, and counts those beside the parts. */
static int add_images(struct dataset *set, const char *path)
{
    char *root = path_join(path, layout_root(set->layout));
    FTS *tree = root ? open_tree(root) : NULL;
    FTSENT *e;
    int result = tree ? 0 : -1;
    while (result == 0) {
        const enum walk_result walked = next_file(tree, root, &e, is_other_part, set);
        if (walked == WALK_END)
            break;
        if (walked == WALK_FAILED || take_file(set, e))
            result = -1;
    }
    if (tree)
        fts_close(tree);
    free(root);
    return result;
}

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    struct folder_set *f = set->state = calloc(1, sizeof *f);
    const size_t n = strlen(options->path);
    set->costly = true;
    set->layout = layout_new();
    if (!f || !set->layout)
        return fail_memory(options->path);
    f->root = n + (n > 0 && options->path[n - 1] != '/');
    if (add_levels(set, options->path) ||
        layout_settle(set->layout, set->name, options->split, options->hold) ||
        add_images(set, options->path))
        return -1;
    if (set->count == 0)
        return dataset_fail_empty(set);
    set->class_names = layout_class_names(set->layout, &set->classes);
    return 0;
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct folder_set *f = set->state;
    s->label = f->images[i].label;
    s->file = f->images[i].path;
    s->member = NULL;
    return sample_read_file(s);
}

static int64_t label(const struct dataset *set, int64_t i)
{
    const struct folder_set *f = set->state;
    return f->images[i].label;
}

static const char *image_name(const struct dataset *set, int64_t i)
{
    const struct folder_set *f = set->state;
    return layout_name(set->layout, f->images[i].path + f->root);
}

static void origin(const struct dataset *set, int64_t i, struct dataset_origin *out)
{
    const struct folder_set *f = set->state;
    *out = (struct dataset_origin){f->images[i].path, NULL, -1};
}

static void close_set(struct dataset *set)
{
    struct folder_set *f = set->state;
    for (int64_t i = 0; f && i < set->count; i++)
        free(f->images[i].path);
    if (f)
        free(f->images);
    free(f);
}

const struct dataset_format dataset_folder = {.recognize = path_is_folder,
                                              .open = open_set,
                                              .get = get,
                                              .label = label,
                                              .image_name = image_name,
                                              .origin = origin,
                                              .close = close_set};
