/* tiny_imagenet: reads the two texts of Tiny ImageNet as it is distributed.
 *
 *   wnids.txt               one class a line; the classes are numbered in this order
 *   val/val_annotations.txt one image of the part "val" a line: its file, its class and a box,
 *                           separated by tabs */
#ifndef TINY_IMAGENET_H
#define TINY_IMAGENET_H

#include <stdbool.h>
#include <stdint.h>

#include "data/classes.h"
#include "data/folder_tree.h"

struct tiny_annotation {
    const char *file; /* points into the text */
    int64_t label;
};

/* The texts and what they contain. The struct starts as {0}. */
struct tiny_imagenet {
    char *wnids, *annotations;                      /* the texts, or NULL */
    const struct folder *wnids_in, *annotations_in; /* the folders that contain them */
    /* tiny_imagenet_read_annotations() sets these. */
    struct tiny_annotation *list; /* ascending by file */
    int64_t n, capacity;
};

void tiny_imagenet_free(struct tiny_imagenet *t); /* leaves {0} */

/* Returns true if the last name of the path is that of one of the texts. */
bool tiny_imagenet_is_text(const char *path);

/* Copies a text, which replaces an earlier one of that name. `in` is the folder that contains it.
 * Returns -1 with a message if memory is out. */
int tiny_imagenet_add_text(struct tiny_imagenet *t, const char *path, const char *text,
                           const struct folder *in);

/* Replaces the classes, which are those of the folders, by those of wnids.txt, numbered in its
 * order. Sets *names to their names by number; the caller frees the array in any case, and t owns
 * the names. Returns -1 with a message, which begins with `name`, if the text lacks a folder's
 * class or has a class twice. It cuts the text into lines, so call it only once. */
int tiny_imagenet_read_wnids(struct tiny_imagenet *t, const char *name, struct classes *classes,
                             const char ***names);

/* Reads val_annotations.txt. Call it after tiny_imagenet_read_wnids(), and only once. Returns -1
 * with a message if a line names no class or a file comes twice. */
int tiny_imagenet_read_annotations(struct tiny_imagenet *t, const char *name,
                                   const struct classes *classes);

/* Returns true and sets the label if the annotations list that file. */
bool tiny_imagenet_find(const struct tiny_imagenet *t, const char *file, int64_t *label);

#endif
