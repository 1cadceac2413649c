/* layout: which parts and classes the paths of a data set's images mean, in folders and in
 * archives.
 *
 * A path is relative, with '/' between names. If all images are in one single folder, which is
 * common in unpacked archives, that folder is the root, provided that it holds parts or at least
 * two folders with images; otherwise the root is the top. Below the root there are:
 *
 *   parts     folders with these names, in upper or lower case:
 *
 *               train        train, training
 *               test         test; without a folder of that name: val, valid, validation
 *               unlabeled    unlabeled
 *
 *             If there is no such folder, all of the data is the training part.
 *   classes   the folders in a part that have images in them or below them. They are numbered in
 *             byte order of their names over all parts, so a class has the same number in each
 *             part. A part without such folders has images without labels; the images of
 *             `unlabeled` never have labels. Images beside the folders of classes, or beside the
 *             parts, belong to no part.
 *
 * Tiny ImageNet as it is distributed has a part "val" whose images are all in one folder, and whose
 * classes are in val/val_annotations.txt; classes are numbered in the order of wnids.txt. Its test
 * part has no labels, so here the split "test" means val, and "unlabeled" means test.
 *
 * Call layout_new(), then layout_add_*() for all contents, then layout_settle() once, then the
 * functions after it. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct layout;

struct layout *layout_new(void);    /* NULL with a message */
void layout_free(struct layout *l); /* NULL is fine */

/* Add an image, or a folder, at that path. Return -1 with a message if memory is out or there are
 * more folders than folder_tree.h allows. */
int layout_add_image(struct layout *l, const char *path);
int layout_add_folder(struct layout *l, const char *path);

/* Returns true if layout_settle() needs the text at that path: wnids.txt or val_annotations.txt. */
bool layout_wants_text(const char *path);
enum { LAYOUT_MAX_TEXT = 1 << 26 }; /* bytes; the caller skips a longer text */
/* Adds a copy of such a text. Does nothing after layout_settle(). Returns -1 with a message on
 * failure. */
int layout_add_text(struct layout *l, const char *path, const char *text);

/* Finds the part for a split, "train", "test" or "unlabeled", and numbers the classes. With `hold`
 * it is the training part, and data that has a test part is refused. Returns -1 with a message that
 * begins with `name` if the part is missing or exists twice, or if the texts are wrong. */
int layout_settle(struct layout *l, const char *name, const char *split, bool hold);

/* Return the folder that holds the parts or classes, and the folder of the part: "", or a path with
 * a '/' at its end. */
const char *layout_root(const struct layout *l);
const char *layout_part(const struct layout *l);
bool layout_has_parts(const struct layout *l);

enum layout_place {
    LAYOUT_IN_PART,
    LAYOUT_OTHER_PART,
    LAYOUT_BESIDE_CLASSES,
    LAYOUT_BESIDE_PARTS,
    LAYOUT_UNLISTED /* in Tiny ImageNet's val, but not listed in val_annotations.txt */
};
/* Returns where an image is. Sets *label to its class if it is in the part and has one, else to
 * -1. */
enum layout_place layout_find(const struct layout *l, const char *path, int64_t *label);

/* The number of added images that are in the part, and of those that are in no part. */
struct layout_counts {
    int64_t in_part, beside_classes, beside_parts;
};
struct layout_counts layout_count(const struct layout *l);

/* Returns a name that identifies an image whatever its root is called, which is the end of its
 * path. */
const char *layout_name(const struct layout *l, const char *path);
/* Returns the names of the classes by number, and sets *n to the number of classes. Returns NULL if
 * there are none. */
const char *const *layout_class_names(const struct layout *l, int *n);

#endif
