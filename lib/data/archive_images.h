/* archive_images: the list of the images of an archive whose paths have a layout, made when all of
 * its entries are known. */
#ifndef ARCHIVE_IMAGES_H
#define ARCHIVE_IMAGES_H

#include <stdint.h>

#include "data/dataset_format.h"
#include "data/tar_links.h"

struct archive_image {
    int64_t source; /* the number of the item that has its bytes */
    char *path;     /* its own path, owned; it differs from the item's if a link led to it */
    int64_t label;  /* -1: none */
};

struct archive_images {
    struct archive_image *list;
    int64_t n;
};

/* Makes the list of the images of a split from the n items of a set's archives. Follows links, adds
 * all paths to the set's layout, settles the layout (see archive_images_settle()), and selects the
 * images of the split. Labels come from the layout, or from labels[item] if set->labels_in_samples.
 * Counts as ignored the images that are not selected and belong to no part. Returns -1 with a
 * message if that fails or leaves no image; `images` is empty then. The caller frees it with
 * archive_images_free(). */
int archive_images_select(struct dataset *set, const struct dataset_options *options,
                          const struct tar_item *items, const int64_t *labels, int64_t n,
                          struct archive_images *images);
void archive_images_free(struct archive_images *images); /* leaves {0} */

/* Settles the layout for the wanted split, and sets the set's classes: those of the layout with
 * their names, or 0 to `largest` if set->labels_in_samples. set->count must be the number of images
 * in all parts. Returns -1 with a message if more labels could not be read than that number allows,
 * or if layout_settle() fails. */
int archive_images_settle(struct dataset *set, const struct dataset_options *options,
                          int64_t largest);

#endif
