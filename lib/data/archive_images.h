/* archive_images: which images an archive with a layout has, once all of its entries are known. */
#ifndef ARCHIVE_IMAGES_H
#define ARCHIVE_IMAGES_H

#include <stdint.h>

#include "data/dataset_format.h"
#include "data/tar_links.h"

struct archive_image {
    int64_t source; /* the number of the item that has its bytes */
    char *path;     /* its own, which differs from the item's if a link led to it; owned */
    int64_t label;  /* -1: none */
};

struct archive_images {
    struct archive_image *list;
    int64_t n;
};

/* Makes the images of a split from the n items of a set's archives: follows links, adds all paths
 * to the set's layout, settles it (see archive_images_settle()), and selects the images of the
 * split. Labels are those of the layout, or labels[item] if set->labels_in_samples. Counts as
 * ignored what is not selected and belongs to no part. Returns -1 with a message if that fails or
 * leaves no image; `images` is empty then. Free it with archive_images_free(). */
int archive_images_select(struct dataset *set, const struct dataset_options *options,
                          const struct tar_item *items, const int64_t *labels, int64_t n,
                          struct archive_images *images);
void archive_images_free(struct archive_images *images); /* leaves {0} */

/* Settles the layout for the wanted split, and sets the set's classes: those of the layout with
 * their names, or 0 to `largest` if set->labels_in_samples. set->count has to be the number of
 * images in all parts; returns -1 with a message if too many others had labels that could not be
 * read, or if layout_settle() fails. */
int archive_images_settle(struct dataset *set, const struct dataset_options *options,
                          int64_t largest);

#endif
