#include "data/tar_links.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "data/path.h"

enum {
    MAX_CHAIN = 16, /* longest chain of links that lead from one to the next */
    MAX_THROUGH =
        1 << 22 /* images in folders that links lead to; a few links could multiply a set */
};

char *tar_link_target(const char *path, const char *link, bool symbolic)
{
    const char *slash = symbolic ? strrchr(path, '/') : NULL;
    char *whole;
    if (symbolic && *link == '/')
        return NULL;
    if (asprintf(&whole, "%.*s%s", slash ? (int)(slash - path) + 1 : 0, path, link) < 0)
        return NULL;
    if (path_normalize(whole))
        return whole;
    free(whole);
    return NULL;
}

/* ---- finding entries by their paths ---- */

struct index_entry {
    const struct tar_item *item;
    int64_t number; /* of the item */
};

static int compare(const struct tar_item *a, const struct tar_item *b)
{
    if (a->archive != b->archive)
        return a->archive < b->archive ? -1 : 1;
    return strcmp(a->path, b->path);
}

/* Compares by path. Entries with the same path stay in the order of the archive: the last one is
 * the one that remains when the archive is unpacked. */
static int by_path(const void *a, const void *b)
{
    const struct index_entry *x = a, *y = b;
    const int order = compare(x->item, y->item);
    return order ? order : (x->number > y->number) - (x->number < y->number);
}

struct index {
    const struct tar_item *items;
    struct index_entry *entries;
    int64_t n;
};

/* Returns the index of the first entry that does not come before the item. */
static int64_t lower_bound(const struct index *x, const struct tar_item *item)
{
    int64_t at = 0, end = x->n;
    while (at < end) {
        const int64_t middle = (at + end) / 2;
        if (compare(x->entries[middle].item, item) < 0)
            at = middle + 1;
        else
            end = middle;
    }
    return at;
}

/* Returns the number of the item at the end of a chain of links, or -1 if there is none. An item
 * that is not a link leads to itself. */
static int64_t find_source(const struct index *x, int64_t number)
{
    for (int i = 0; i < MAX_CHAIN; i++) {
        const struct tar_item *item = &x->items[number];
        if (!item->link)
            return number;
        const struct tar_item key = {.path = item->link, .archive = item->archive};
        int64_t at = lower_bound(x, &key);
        if (at == x->n || compare(x->entries[at].item, &key) != 0)
            return -1;
        while (at + 1 < x->n && compare(x->entries[at + 1].item, &key) == 0)
            at++;
        number = x->entries[at].number;
    }
    return -1;
}

/* ---- the images ---- */

struct image_list {
    struct tar_image *images;
    int64_t n, capacity;
    int64_t through; /* how many of them are in folders that links lead to */
};

static int add(struct image_list *l, int64_t item, int64_t source, char *path)
{
    const bool many = path && ++l->through > MAX_THROUGH;
    struct tar_image *grown = many ? NULL : grow(l->images, l->n, &l->capacity, sizeof *grown);
    if (!grown) {
        free(path);
        return many ? fail("links to folders lead to more than %d images", MAX_THROUGH)
                    : fail_memory(NULL);
    }
    l->images = grown;
    l->images[l->n++] = (struct tar_image){item, source, path};
    return 0;
}

/* Adds all images of the folder that a link leads to, under the link's path. Links in this folder
 * that lead to further folders are left out, so a folder that contains itself is finite. Counts the
 * link as lost if there is no image. */
static int add_folder(struct image_list *l, const struct index *x, int64_t number, int64_t *lost)
{
    const struct tar_item *item = &x->items[number];
    char *folder;
    if (asprintf(&folder, "%s%s", item->link, *item->link ? "/" : "") < 0)
        return fail_memory(NULL);
    const size_t n = strlen(folder);
    const struct tar_item key = {.path = folder, .archive = item->archive};
    int result = 0;
    bool found = false;
    for (int64_t i = lower_bound(x, &key); i < x->n && result == 0; i++) {
        const struct tar_item *other = x->entries[i].item;
        if (other->archive != item->archive || strncmp(other->path, folder, n) != 0)
            break;
        const int64_t source = find_source(x, x->entries[i].number);
        char *path = NULL;
        if (source < 0)
            continue;
        if (asprintf(&path, "%s/%s", item->path, other->path + n) < 0)
            result = fail_memory(NULL);
        else
            result = add(l, number, source, path);
        found = true;
    }
    free(folder);
    *lost += !found;
    return result;
}

int tar_links_follow(const struct tar_item *items, int64_t n, struct tar_image **images,
                     int64_t *n_images, int64_t *lost)
{
    struct image_list l = {0};
    struct index x = {items, calloc((size_t)n + 1, sizeof *x.entries), n};
    int result = x.entries ? 0 : fail_memory(NULL);
    *lost = 0;
    for (int64_t i = 0; i < n && result == 0; i++)
        x.entries[i] = (struct index_entry){&items[i], i};
    if (result == 0)
        qsort(x.entries, (size_t)n, sizeof *x.entries, by_path);
    for (int64_t i = 0; i < n && result == 0; i++) {
        const int64_t source = find_source(&x, i);
        result = source >= 0 ? add(&l, i, source, NULL) : add_folder(&l, &x, i, lost);
    }
    free(x.entries);
    *images = l.images;
    *n_images = l.n;
    return result;
}

void tar_links_free(struct tar_image *images, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        free(images[i].path);
    free(images);
}
