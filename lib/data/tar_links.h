/* tar_links: what the links in an archive show. As a folder's, they are followed: a hard link shows
 * another entry's bytes, a symbolic link a file or all that lies in a folder. */
#ifndef TAR_LINKS_H
#define TAR_LINKS_H

#include <stdbool.h>
#include <stdint.h>

/* An image, or a link, of an archive. */
struct tar_item {
    const char *path; /* as layout_normalize() leaves it */
    const char *link; /* the path that it leads to, or NULL: it has bytes of its own */
    int64_t archive;  /* links lead to entries of their own archive */
};

/* An image that is there: of items[item], with the bytes of items[source]. */
struct tar_image {
    int64_t item, source;
    char *path; /* of an image in a folder that a link shows; the holder's. NULL: the item's */
};

/* The path that a link leads to, from the root of its archive; `symbolic` ones begin at the folder
 * that the link lies in. The caller's. NULL, without a message: it leaves the archive, or memory is
 * out. */
char *tar_link_target(const char *path, const char *link, bool symbolic);

/* Follows all links. *shown, the caller's, has the n_shown images in the order of the items; *lost
 * counts links that lead to no image. -1 with a message: memory is out, or links show more images
 * than are counted. Free with tar_links_free() in any case. */
int tar_links_follow(const struct tar_item *items, int64_t n, struct tar_image **shown,
                     int64_t *n_shown, int64_t *lost);
void tar_links_free(struct tar_image *shown, int64_t n_shown);

#endif
