/* folder_tree: the folders in the paths of a data set's images, with the number of images in each
 * one. It does not read the disk: an archive has such a tree as well. */
#ifndef FOLDER_TREE_H
#define FOLDER_TREE_H

#include <stddef.h>
#include <stdint.h>

struct folder {
    char *name; /* zero-terminated; NULL for the top */
    size_t length;
    struct folder *parent; /* NULL for the top */
    int64_t images;        /* in the folder itself */
    int64_t below;         /* in it and in all folders below it */
    int64_t label;         /* -1 at first; the layout sets it */
    void *children;        /* the module's own: a tree of tsearch(), in byte order of the names */
};

/* A tree, which starts as {0}. */
struct folder_tree {
    struct folder top;
    int64_t n; /* number of folders below the top */
};

void folder_tree_free(struct folder_tree *t); /* leaves {0} */

/* Adds an image, and the folders of its path ("a/b/1.png"). Only the first 32 nested folders count;
 * an image in a deeper one belongs to the last of these. Returns -1 with a message if memory is out
 * or there are more than 2^22 folders. */
int folder_tree_add_image(struct folder_tree *t, const char *path);
/* Adds the folder at that path, which may hold no image. Returns -1 with a message as above. */
int folder_tree_add_folder(struct folder_tree *t, const char *path);
/* Adds the folder that contains the path's last name, and returns it. Returns NULL with a message
 * on failure. */
struct folder *folder_tree_add_parent(struct folder_tree *t, const char *path);

/* Returns the child of that name, or NULL. The name has n bytes and need not end there. */
const struct folder *folder_tree_find_child(const struct folder *f, const char *name, size_t n);
/* Calls visit() for each child, in byte order of the names. */
void folder_tree_each_child(const struct folder *f, void (*visit)(struct folder *child, void *user),
                            void *user);

/* Returns the path of a folder with a '/' at its end, or "" for the top. The text belongs to the
 * caller. Returns NULL, without a message, if memory is out. */
char *folder_tree_path(const struct folder *f);
/* Returns the part of a path after that of the folder, or NULL if it is not below the folder. */
const char *folder_tree_below(const struct folder *f, const char *path);

#endif
