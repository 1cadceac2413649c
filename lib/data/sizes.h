/* sizes: how large most images of a set are, judged by a sample of them.
 *
 * The sample is spread evenly: each stride-th image, where the stride is the smallest power of two
 * that leaves no more than SIZES_SAMPLE of them. So it is the same for a set that is indexed and
 * for one that comes in sequence, whose end is not known before. */
#ifndef SIZES_H
#define SIZES_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SIZES_SAMPLE = 64,
    SIZES_SMALL = 64 /* pixels a side: square images up to there are shown as large as they are */
};

struct sizes { /* start with {.stride = 1} */
    int64_t stride, seen;
    int n;
    int sides[SIZES_SAMPLE]; /* of each stride-th image; 0: large or not square, -1: unknown */
};

/* Is the next image one of the sample? If so sizes_add() takes its size, else sizes_pass() counts
 * it. */
bool sizes_wants(struct sizes *s);
void sizes_pass(struct sizes *s);
/* width 0: it could not be read. */
void sizes_add(struct sizes *s, int width, int height);

/* The side that most of the sample have: of square images up to SIZES_SMALL; 0: most are larger or
 * not square. Of several that are as frequent the largest. *agree of *looked_at have it. */
int sizes_most(const struct sizes *s, int *agree, int *looked_at);

#endif
