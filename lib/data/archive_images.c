#include "data/archive_images.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/warn.h"
#include "data/read_errors.h"

int archive_images_settle(struct dataset *set, const struct dataset_options *options,
                          int64_t largest)
{
    if (set->bad_labels && read_errors_check_labels(set->errors, set->count + set->bad_labels))
        return -1;
    if (layout_settle(set->layout, set->name, options->split, options->hold))
        return -1;
    if (set->labels_in_samples)
        set->classes = (int)(largest + 1);
    else
        set->class_names = layout_class_names(set->layout, &set->classes);
    return 0;
}

static const char *path_of(const struct tar_image *image, const struct tar_item *items)
{
    return image->path ? image->path : items[image->item].path;
}

/* Moves the images of the split into the list, which has room for n images. */
static int select_split(struct dataset *set, const struct tar_item *items, const int64_t *labels,
                        struct tar_image *all, int64_t n, struct archive_images *images)
{
    int64_t unlabelled = 0;
    for (int64_t i = 0; i < n; i++) {
        const char *path = path_of(&all[i], items);
        int64_t label;
        if (!dataset_accept_image(set, layout_find(set->layout, path, &label)))
            continue;
        if (set->labels_in_samples)
            label = labels[all[i].path ? all[i].source : all[i].item];
        unlabelled += label < 0;
        char *copy = all[i].path ? all[i].path : strdup(path);
        if (!copy)
            return fail_memory(set->name);
        all[i].path = NULL;
        images->list[images->n++] = (struct archive_image){all[i].source, copy, label};
    }
    if (set->labels_in_samples && unlabelled)
        warn_line("%s: %lld of %lld images have no label (a .cls beside them)", set->name,
                  (long long)unlabelled, (long long)images->n);
    return 0;
}

/* Does the same for the images that tar_links_follow() has returned. */
static int select_followed(struct dataset *set, const struct dataset_options *options,
                           const struct tar_item *items, const int64_t *labels, int64_t largest,
                           struct tar_image *all, int64_t n, struct archive_images *images)
{
    for (int64_t i = 0; i < n; i++)
        if (layout_add_image(set->layout, path_of(&all[i], items)))
            return -1;
    set->count = n;
    if (n == 0)
        return dataset_fail_empty(set);
    if (archive_images_settle(set, options, largest))
        return -1;
    images->list = calloc((size_t)n, sizeof *images->list);
    if (!images->list)
        return fail_memory(set->name);
    if (select_split(set, items, labels, all, n, images))
        return -1;
    return images->n ? 0 : dataset_fail_empty(set);
}

int archive_images_select(struct dataset *set, const struct dataset_options *options,
                          const struct tar_item *items, const int64_t *labels, int64_t n,
                          struct archive_images *images)
{
    struct tar_image *all = NULL;
    int64_t n_all = 0, lost = 0, largest = -1;
    *images = (struct archive_images){0};
    for (int64_t i = 0; i < n; i++)
        largest = labels[i] > largest ? labels[i] : largest;
    int result = tar_links_follow(items, n, &all, &n_all, &lost);
    if (result)
        fail_prefix("%s", set->name);
    ignored_add(&set->ignored, "links that lead nowhere", lost);
    if (result == 0)
        result = select_followed(set, options, items, labels, largest, all, n_all, images);
    tar_links_free(all, n_all);
    if (result)
        archive_images_free(images);
    return result;
}

void archive_images_free(struct archive_images *images)
{
    for (int64_t i = 0; i < images->n; i++)
        free(images->list[i].path);
    free(images->list);
    *images = (struct archive_images){0};
}
