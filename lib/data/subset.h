/* subset: a selection of a data set's images that is the same in every run: images held out for a
 * test, a smaller set, or a fraction of the labels.
 *
 *   hold     Of the n images of a class, round(hold * n) are the test part, but at least one of two
 *            or more, and never all. They are those whose names (or numbers, in sets without names)
 *            have the smallest hashes, so the parts stay the same in whatever order the images
 *            come.
 *   limit    Takes the first images of an order in which each class is spread evenly: first one
 *            image of each class, then image k of a class of n at k / n. So any number of images
 *            keeps the proportions of the classes, and one that is not smaller than the number of
 *            classes keeps all of them. The order within a class depends on a fixed seed and the
 *            image's number.
 *   labels   With n labelled images of c classes, a fraction s of the labels is
 *            k = max(1, round(s * n / c)) images of each class; a class that has fewer gives all of
 *            them. Each image has a random number, which is a function of the seed and of the
 *            image's own number, and a class gives the k images with the smallest ones. So a
 *            smaller fraction is a subset of a larger one. Images without labels are left out.
 *
 * They are applied in this order. hold and limit treat images without labels as one class. */
#ifndef SUBSET_H
#define SUBSET_H

#include <stdbool.h>

#include "data/dataset.h"

struct subset_options {
    double hold;              /* the fraction that is held out; 0: none */
    bool held_out;            /* choose the images that are held out, not the others */
    int64_t limit;            /* number of images; 0: all */
    double labels;            /* a fraction; 1: all images */
    int64_t labels_per_class; /* images of each class, in place of `labels`; 0: `labels` decides */
    uint64_t labels_seed;
};

struct subset {
    int64_t *images; /* their numbers in the set, ascending; NULL: all of the set */
    int64_t n;
};

/* Chooses images of an indexed set. Returns -1 with a message if none is left, no image has a
 * label, or memory is out. The caller calls subset_free() in any case. */
int subset_choose(struct subset *s, const struct dataset *set,
                  const struct subset_options *options);
void subset_free(struct subset *s); /* leaves {0} */

#endif
