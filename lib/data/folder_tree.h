/* folder_tree: the folders that the paths of a data set's images name, and how many images each
 * one holds. It knows nothing of files on disk: an archive has such a tree as well. */
#ifndef FOLDER_TREE_H
#define FOLDER_TREE_H

#include <stddef.h>
#include <stdint.h>

struct folder {
    char *name; /* zero-terminated; NULL: the top */
    size_t length;
    struct folder *parent; /* NULL: it is the top */
    int64_t images;        /* in the folder itself */
    int64_t below;         /* in it and in all folders below it */
    int64_t label;         /* -1; the layout's to set */
    void *children;        /* the module's own: a tree of tsearch(), in the order of names' bytes */
};

/* Start with {0}. */
struct folder_tree {
    struct folder top;
    int64_t n; /* folders below the top */
};

void folder_tree_free(struct folder_tree *t); /* leaves {0} */

/* Adds an image, and the folders of its path ("a/b/1.png"), of which 32 below one another count:
 * what is deeper belongs to the last of them. Returns -1 with a message if memory is out or there
 * are more than 2^22 folders. */
int folder_tree_add_image(struct folder_tree *t, const char *path);
/* Adds the folder of that path, which may hold no image. Returns as above. */
int folder_tree_add_folder(struct folder_tree *t, const char *path);
/* Adds the folder that the path's last name is in, and returns it; NULL with a message. */
struct folder *folder_tree_add_parent(struct folder_tree *t, const char *path);

/* The child of that name, which has n bytes and need not end there, or NULL. */
const struct folder *folder_tree_find_child(const struct folder *f, const char *name, size_t n);
/* Calls visit() for each child, in the order of the names' bytes. */
void folder_tree_each_child(const struct folder *f, void (*visit)(struct folder *child, void *user),
                            void *user);

/* The path of a folder, with a '/' at its end, or "" for the top; the text is the caller's. NULL,
 * without a message: memory is out. */
char *folder_tree_path(const struct folder *f);
/* The rest of a path after that of the folder, or NULL if it is not below the folder. */
const char *folder_tree_below(const struct folder *f, const char *path);

#endif
