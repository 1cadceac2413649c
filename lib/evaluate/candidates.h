/* candidates: the training rows that may be among the k nearest of a test row, by similarities with a
 * known error. */
#ifndef CANDIDATES_H
#define CANDIDATES_H

#include <stdint.h>

struct neighbour {
    int64_t row;
    double exact; /* similarity in float64 */
};

/* The candidates of one test row in the order of their rows. */
struct candidates {
    float *rough; /* what they are compared by */
    struct neighbour *list;
    int64_t count, capacity;
    int64_t done;    /* how many of them have been compared exactly */
    float threshold; /* rows that are compared by less are not among the k nearest */
    float margin;    /* twice the largest error of `rough` */
};

/* Drops candidates that cannot be among the k nearest, and sets the threshold. There are at least k. */
void candidates_prune(struct candidates *c, int64_t k);

/* Makes room in a full list: drops candidates, and doubles the room if that frees less than half of
 * it. Returns -1 without a message if memory is out. */
int candidates_make_room(struct candidates *c, int64_t k);

#endif
