/* size_sample: estimates the size of most images of a set from a sample of them.
 *
 * The sample is spread evenly over the set. It has each stride-th image; the stride is the smallest
 * power of two that leaves no more than SIZE_SAMPLE_IMAGES images. The stride doubles while images
 * arrive, so an indexed set has the same sample as one that is read in sequence, whose end is not
 * known beforehand. */
#ifndef SIZE_SAMPLE_H
#define SIZE_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    SIZE_SAMPLE_IMAGES = 64,
    SIZE_SAMPLE_SMALL = 64 /* pixels a side; smaller square images have views of their own size */
};

struct size_sample { /* starts with {.stride = 1} */
    int64_t stride;
    int64_t seen; /* number of images that were added or skipped */
    int n;
    int sides[SIZE_SAMPLE_IMAGES]; /* pixels; 0: large or not square; -1: could not be read */
};

/* Returns true if the next image belongs to the sample. Then call size_sample_add() with its size
 * (width 0: it could not be read), otherwise size_sample_skip(). */
bool size_sample_wants(struct size_sample *s);
void size_sample_add(struct size_sample *s, int width, int height);
void size_sample_skip(struct size_sample *s);

/* Returns the side in pixels that most images of the sample have, if they are square and not above
 * SIZE_SAMPLE_SMALL. Returns 0 if most are larger or not square. Among equally frequent sides, it
 * returns the largest; 0 counts as larger than all. *agree of *looked_at images have that side. */
int size_sample_most(const struct size_sample *s, int *agree, int *looked_at);

#endif
