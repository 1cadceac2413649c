/* subset: the same few labels for every run: a part of a data set's images, as many of each class.
 *
 * With n labelled images of c classes, a share s of them is k = max(1, round(s n / c)) images a
 * class; a class that has fewer gives all it has. Each image has a random number that is a function
 * of the seed and of its own number alone, and a class gives the k images whose numbers are
 * smallest: so a smaller share is a part of a larger one. Images without labels are left out. */
#ifndef SUBSET_H
#define SUBSET_H

#include "dataset.h"

struct subset {
    int64_t *images; /* their numbers in the set, ascending */
    int64_t n;
};

/* Chooses from the first `images` of an indexed set: a share of them, or `each` of a class if that
 * is not 0. -1 with a message: the set is a stream, it has no labels, memory is out. Free with
 * subset_free() in any case. */
int subset_choose(struct subset *s, const struct dataset *set, int64_t images, double share,
                  int64_t each, uint64_t seed);
void subset_free(struct subset *s);

#endif
