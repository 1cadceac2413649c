/* A folder per class with PNG files in it, decoded when they are asked for. A folder without
 * sub-folders holds images without labels. Hidden files are passed over. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "dataset_format.h"
#include "fail.h"

struct entry {
    char *path;
    int64_t label;
};

struct folder {
    struct entry *entries;
    int64_t capacity;
};

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool is_png(const char *name)
{
    const size_t n = strlen(name);
    return n > 4 && strcasecmp(name + n - 4, ".png") == 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int add_image(struct dataset *set, char *path, int64_t label)
{
    struct folder *f = set->state;
    if (set->count == f->capacity) {
        const int64_t capacity = f->capacity ? 2 * f->capacity : 1024;
        struct entry *grown = reallocarray(f->entries, (size_t)capacity, sizeof *grown);
        if (!grown)
            return fail("%s: out of memory", path);
        f->entries = grown;
        f->capacity = capacity;
    }
    f->entries[set->count++] = (struct entry){path, label};
    return 0;
}

static int add_class(struct dataset *set, const char *path);

/* Walks through a folder's names in order: as the set's root its sub-folders are classes, else its
 * images have that label. */
static int scan(struct dataset *set, const char *folder, bool root, int64_t label)
{
    struct dirent **names = NULL;
    const int n = scandir(folder, &names, visible, by_bytes);
    if (n < 0)
        return fail("%s: %s", folder, strerror(errno));
    int result = 0;
    for (int i = 0; i < n; i++) {
        char *path = NULL;
        if (result == 0 && asprintf(&path, "%s/%s", folder, names[i]->d_name) < 0) {
            path = NULL;
            result = fail("%s: out of memory", folder);
        }
        if (result == 0 && root && is_folder(path))
            result = add_class(set, path);
        else if (result == 0 && !root && is_png(path)) {
            result = add_image(set, path, label);
            if (result == 0)
                path = NULL;
        }
        free(path);
        free(names[i]);
    }
    free(names);
    return result;
}

static int add_class(struct dataset *set, const char *path)
{
    return scan(set, path, false, set->classes++);
}

static int open_root(struct dataset *set, const char *path)
{
    if (scan(set, path, true, -1))
        return -1;
    if (set->classes == 0 && scan(set, path, false, -1))
        return -1;
    if (set->count == 0)
        return fail("%s: no PNG file in it", path);
    const struct folder *f = set->state;
    struct image first = {0};
    const int result = image_read_png(&first, f->entries[0].path);
    set->native_size = first.width == first.height ? first.width : 0;
    image_free(&first);
    return result;
}

static int open_set(struct dataset *set, const char *path, const char *split, int size)
{
    (void)size;
    set->state = calloc(1, sizeof(struct folder));
    char *part = NULL;
    if (!set->state || asprintf(&part, "%s/%s", path, split) < 0)
        return fail("%s: out of memory", path);
    const int result = open_root(set, is_folder(part) ? part : path);
    free(part);
    return result;
}

static int get(const struct dataset *set, int64_t i, struct image *image)
{
    const struct folder *f = set->state;
    image->label = f->entries[i].label;
    return image_read_png(image, f->entries[i].path);
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

const struct dataset_format dataset_folder = {"folder", is_folder, open_set, get, close_set};
