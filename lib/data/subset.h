/* subset: a part of a data set's images, the same for every run: images kept back for a test, a
 * smaller set, a share of the labels.
 *
 *   hold    of the n images of a class, round(share n) are the test part, but at least one of two
 * or more, and never all: those whose names (of sets without names, numbers) have the smallest
 * hashes. So the parts are the same in whatever order the images come. limit   the first images of
 * an order in which each class is spread evenly: first one image of each class, then image k of a
 * class of n at k / n. So any number of images keeps the classes' shares, and one that is no
 * smaller than the number of classes keeps them all. The order within a class is drawn by a fixed
 * seed and the image's number. labels  with n labelled images of c classes, a share s of them is k
 * = max(1, round(s n / c)) images a class; a class that has fewer gives all it has. Each image has
 * a random number that is a function of the seed and of its own number alone, and a class gives the
 * k images whose numbers are smallest: so a smaller share is a part of a larger one. Images without
 * labels are left out.
 *
 * They are applied in this order. Images without labels are one class to the first two. */
#ifndef SUBSET_H
#define SUBSET_H

#include <stdbool.h>

#include "data/dataset.h"

struct subset_options {
    double hold;              /* the share that is kept back; 0: none */
    bool held_out;            /* of the two parts, those that are kept back are wanted */
    int64_t limit;            /* 0: all */
    double labels;            /* 1: all */
    int64_t labels_per_class; /* so many of each class, instead; 0: `labels` decides */
    uint64_t labels_seed;
};

struct subset {
    int64_t *images; /* their numbers in the set, ascending; NULL: all of the set */
    int64_t n;
};

/* Chooses from an indexed set. -1 with a message: none is left, no image has a label, memory is
 * out. Free with subset_free() in any case. */
int subset_choose(struct subset *s, const struct dataset *set,
                  const struct subset_options *options);
void subset_free(struct subset *s);

#endif
