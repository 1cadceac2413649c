/* layout: what the paths of a data set's images say of its parts and classes, for folders and
 * archives alike.
 *
 * A path is relative, with '/' between names. What lies in one lone folder, as what was unpacked
 * often does, is taken from there on, if that folder holds parts or at least two folders with
 * images. Below that root:
 *
 *   parts    are folders that are called, whatever the letters' case, train or training; test; and
 *            where there is no test val, valid or validation; unlabeled. If there are none, all of
 *            it is the training part.
 *   classes  are the folders in a part that have images in them or below them, numbered in the
 *            order of their names' bytes over all parts, so that a class has one number in each of
 *            them. A part without such folders has images without labels, as `unlabeled` always
 *            has. Images beside the folders of classes, or beside parts, belong to nothing.
 *
 * Tiny ImageNet as it is distributed has a part "val" whose images lie in one folder, and their
 * classes in val/val_annotations.txt; classes are numbered in the order of wnids.txt. Its test part
 * has no labels, so there --split test means val, and --split unlabeled test. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct layout;

struct layout *layout_new(void);    /* NULL with a message */
void layout_free(struct layout *l); /* NULL is fine */

/* There is an image, or a folder, at that path. -1 with a message: memory is out, or there are more
 * folders than are counted. */
int layout_add_image(struct layout *l, const char *path);
int layout_add_folder(struct layout *l, const char *path);

/* Is that the path of a text which layout_settle() reads: wnids.txt, val_annotations.txt? */
bool layout_wants_text(const char *path);
enum { LAYOUT_MAX_TEXT = 1 << 26 }; /* bytes of one */
/* Such a text, copied; of a settled layout ignored. -1 with a message. */
int layout_add_text(struct layout *l, const char *path, const char *text);

/* After all was added: finds the part of a split, "train", "test" or "unlabeled", and numbers the
 * classes. With `hold`, the part that is to be divided: the training one, of data that must have no
 * test part. -1 with a message that begins with `name`: the part is not there, or is there twice,
 * or the texts are wrong. */
int layout_settle(struct layout *l, const char *name, const char *split, bool hold);

/* Of a settled layout: the folder that holds parts or classes, and the one of the part; "" or with
 * a '/' at its end. */
const char *layout_root(const struct layout *l);
const char *layout_part(const struct layout *l);
bool layout_has_parts(const struct layout *l);
/* Where an image belongs: to the part, with its class (-1: none), or elsewhere. */
enum layout_place {
    LAYOUT_IN_PART,
    LAYOUT_OTHER_PART, /* another part */
    LAYOUT_BESIDE_CLASSES,
    LAYOUT_BESIDE_PARTS,
    LAYOUT_UNLISTED /* val_annotations.txt lacks it */
};
enum layout_place layout_find(const struct layout *l, const char *path, int64_t *label);
/* How many of the images that were added belong to the part, and how many to nothing. */
struct layout_counts {
    int64_t here, beside_classes, beside_parts;
};
struct layout_counts layout_count(const struct layout *l);
/* What identifies an image whatever its root is called: the end of its path. */
const char *layout_name(const struct layout *l, const char *path);
/* Names of classes by their numbers; NULL if there are none. */
const char *const *layout_class_names(const struct layout *l, int *n);

/* Makes a path one without "./", "..", doubled slashes and those at either end, in place. false: it
 * led above its root, where it now stays. */
bool layout_normalize(char *path);

#endif
