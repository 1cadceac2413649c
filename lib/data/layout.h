/* layout: which parts and classes the paths of a data set's images mean, in folders and in
 * archives.
 *
 * A path is relative, with '/' between names. If all images are in one lone folder, as what was
 * unpacked often is, that folder is the root, provided that it holds parts or at least two folders
 * with images; else the root is the top. Below the root:
 *
 *   parts     are folders with these names, in upper or lower case:
 *
 *               train        train, training
 *               test         test; where there is none: val, valid, validation
 *               unlabeled    unlabeled
 *
 *             If there is no such folder, all of the data is the training part.
 *   classes   are the folders in a part that have images in them or below them. They are numbered
 *             in the order of their names' bytes over all parts, so a class has one number in each
 *             of them. A part without such folders has images without labels, and so has
 *             `unlabeled` in any case. Images beside the folders of classes, or beside the parts,
 *             belong to no part.
 *
 * Tiny ImageNet as it is distributed has a part "val" whose images are all in one folder, and whose
 * classes are in val/val_annotations.txt; classes are numbered in the order of wnids.txt. Its test
 * part has no labels, so here the split "test" means val, and "unlabeled" means test.
 *
 * Use: layout_new(), then layout_add_*() for all that there is, then layout_settle() once, then the
 * functions after it. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct layout;

struct layout *layout_new(void);    /* NULL with a message */
void layout_free(struct layout *l); /* NULL is fine */

/* Adds an image, or a folder, at that path. Returns -1 with a message if memory is out or there are
 * more folders than folder_tree.h counts. */
int layout_add_image(struct layout *l, const char *path);
int layout_add_folder(struct layout *l, const char *path);

/* Returns true if layout_settle() reads a text of that path: wnids.txt, val_annotations.txt. */
bool layout_wants_text(const char *path);
enum { LAYOUT_MAX_TEXT = 1 << 26 }; /* bytes of a text; the caller leaves out a longer one */
/* Adds a copy of such a text; does nothing after layout_settle(). Returns -1 with a message. */
int layout_add_text(struct layout *l, const char *path, const char *text);

/* Finds the part of a split, "train", "test" or "unlabeled", and numbers the classes. With `hold`
 * the training part is the one, and data that has a test part is refused. Returns -1 with a message
 * that begins with `name` if the part is missing or is there twice, or if the texts are wrong. */
int layout_settle(struct layout *l, const char *name, const char *split, bool hold);

/* The folder that holds the parts or classes, and the folder of the part: "", or a path with a '/'
 * at its end. */
const char *layout_root(const struct layout *l);
const char *layout_part(const struct layout *l);
bool layout_has_parts(const struct layout *l);

enum layout_place {
    LAYOUT_IN_PART,
    LAYOUT_OTHER_PART,
    LAYOUT_BESIDE_CLASSES,
    LAYOUT_BESIDE_PARTS,
    LAYOUT_UNLISTED /* in Tiny ImageNet's val, and val_annotations.txt does not list it */
};
/* Where an image is. *label gets its class if it is in the part and has one, else -1. */
enum layout_place layout_find(const struct layout *l, const char *path, int64_t *label);

/* How many of the images that were added are in the part, and how many in no part. */
struct layout_counts {
    int64_t in_part, beside_classes, beside_parts;
};
struct layout_counts layout_count(const struct layout *l);

/* A name that identifies an image whatever its root is called: the end of its path. */
const char *layout_name(const struct layout *l, const char *path);
/* The names of the classes by number; *n gets how many there are. NULL if there are none. */
const char *const *layout_class_names(const struct layout *l, int *n);

#endif
