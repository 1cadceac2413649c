/* tar_links: finds the images that the links in an archive lead to. Links work as in a folder: a
 * hard link has the bytes of another entry, and a symbolic link leads to a file or to everything in
 * a folder. */
#ifndef TAR_LINKS_H
#define TAR_LINKS_H

#include <stdbool.h>
#include <stdint.h>

/* An image, or a link, in an archive. */
struct tar_item {
    const char *path; /* as path_normalize() returns it */
    const char *link; /* the path that it leads to, or NULL if it has bytes of its own */
    int64_t archive;  /* number of its archive; links lead to entries of their own archive */
};

/* An image: items[item], with the bytes of items[source]. */
struct tar_image {
    int64_t item, source;
    char *path; /* owned: the path through a link to a folder; NULL: the item's path */
};

/* Returns the path that a link leads to, from the root of its archive; a symbolic link starts at
 * the folder that contains it. The text belongs to the caller. Returns NULL, without a message, if
 * the path leaves the archive or memory is out. */
char *tar_link_target(const char *path, const char *link, bool symbolic);

/* Follows all links. Sets *images to the n_images images in the order of the items, and *lost to
 * the number of links that lead to no image. Returns -1 with a message if memory is out, or if
 * links lead to too many images. The caller frees the images with tar_links_free() in any case. */
int tar_links_follow(const struct tar_item *items, int64_t n, struct tar_image **images,
                     int64_t *n_images, int64_t *lost);
void tar_links_free(struct tar_image *images, int64_t n);

#endif
