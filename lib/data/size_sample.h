/* sizes: how large most images of a set are, judged by a sample of them.
 *
 * The sample is spread evenly: each stride-th image, where the stride is the smallest power of two
 * that leaves no more than SIZE_SAMPLE_IMAGES of them. So it is the same for a set that is indexed and
 * for one that comes in sequence, whose end is not known before. */
#ifndef SIZE_SAMPLE_H
#define SIZE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SIZE_SAMPLE_IMAGES = 64,
    SIZE_SAMPLE_SMALL =
        64 /* pixels a side: square images up to there are shown as large as they are */
};

struct size_sample { /* start with {.stride = 1} */
    int64_t stride, seen;
    int n;
    int sides
        [SIZE_SAMPLE_IMAGES]; /* of each stride-th image; 0: large or not square, -1: unknown */
};

/* Is the next image one of the sample? If so size_sample_add() takes its size, else size_sample_skip() counts
 * it. */
bool size_sample_wants(struct size_sample *s);
void size_sample_skip(struct size_sample *s);
/* width 0: it could not be read. */
void size_sample_add(struct size_sample *s, int width, int height);

/* The side that most of the sample have: of square images up to SIZE_SAMPLE_SMALL; 0: most are larger or
 * not square. Of several that are as frequent the largest. *agree of *looked_at have it. */
int size_sample_most(const struct size_sample *s, int *agree, int *looked_at);

#endif
