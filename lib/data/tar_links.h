/* tar_links: the images that the links in an archive lead to. Links are followed as a folder's
 * are: a hard link stands for the bytes of another entry, a symbolic link for a file or for all
 * that is in a folder. */
#ifndef TAR_LINKS_H
#define TAR_LINKS_H

#include <stdbool.h>
#include <stdint.h>

/* An image, or a link, in an archive. */
struct tar_item {
    const char *path; /* as path_normalize() leaves it */
    const char *link; /* the path that it leads to, or NULL: it has bytes of its own */
    int64_t archive;  /* links lead to entries of their own archive */
};

/* An image that exists: items[item], with the bytes of items[source]. */
struct tar_image {
    int64_t item, source;
    char *path; /* of an image in a folder that a link leads to; owned. NULL: it is the item's */
};

/* The path that a link leads to, from the root of its archive; a symbolic link starts at the folder
 * that it is in. The text is the caller's. Returns NULL, without a message, if the path leaves the
 * archive or memory is out. */
char *tar_link_target(const char *path, const char *link, bool symbolic);

/* Follows all links. *images gets the n_images images in the order of the items, and *lost how many
 * links lead to no image. Returns -1 with a message if memory is out, or if links lead to too many
 * images. Free the images with tar_links_free() in any case. */
int tar_links_follow(const struct tar_item *items, int64_t n, struct tar_image **images,
                     int64_t *n_images, int64_t *lost);
void tar_links_free(struct tar_image *images, int64_t n);

#endif
