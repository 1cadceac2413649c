/* augment: fills a batch with views of its images, on as many threads as there are, with the same
 * bytes for any number of them. */
#ifndef AUGMENT_H
#define AUGMENT_H

#include <stdint.h>

#include "dataset.h"
#include "policy.h"

struct augment {
    /* Filled by the caller. */
    const struct dataset *set;
    const struct policy *policy;
    int size, n_views, n_threads;
    uint64_t seed;
    /* Below: the module's own. */
    struct augment_worker *workers;
};

/* -1: memory is out. augment_free() in any case. */
int augment_init(struct augment *a);
void augment_free(struct augment *a);

/* Fills x U8 [n,V,S,S,3] and y I64 [n] for the images of index I64 [n]; where views is not NULL,
 * views[n][V] tells what was drawn. -1 with the message of the first row that failed. */
int augment_fill(struct augment *a, int64_t epoch, const int64_t *index, int64_t n, uint8_t *x,
                 int64_t *y, struct view *views);

#endif
