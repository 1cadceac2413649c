/* augment: makes the frames of views, of images or of series, on as many threads as there are, with
 * the same bytes for any number of them. */
#ifndef AUGMENT_H
#define AUGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "data/batch_reader.h"
#include "data/skips.h"
#include "frame/frame.h"
#include "views/image_cache.h"
#include "views/policy.h"

struct augment {
    /* Filled by the caller. */
    struct batch_reader *rows;
    const struct policy *policies[2]; /* of an image's first view, and of its others */
    struct image_cache *keep;         /* decoded images; NULL: none are kept */
    struct skips *skips;
    int size, n_views, n_threads;
    int channels; /* of series, whose views have `size` steps; 0: images */
    uint64_t seed;
    bool orient;  /* as EXIF says */
    bool reduced; /* decode JPEGs at a half, a quarter or an eighth where no crop needs more */
    const atomic_bool *stop; /* NULL, or augment_frame() fails soon where it is set */
    /* Below: the module's own. */
    struct augment_worker *workers;
};

/* -1: memory is out. augment_free() in any case. */
int augment_init(struct augment *a);
void augment_free(struct augment *a);

/* The frame of a step: x U8 [n,V,S,S,3], of series F32 [n,V,1,S,C], y I64 [n] and index I64 [n] for
 * this rank's n rows, without metadata. *b is its batch; where views is not NULL, views[n][V] tells
 * what was drawn (room for a whole batch).
 *
 * A row whose image cannot be read shows, in training, the image of the row before it in the epoch,
 * whatever batch that is in, or of the one before that: see batch_reader_place(). Its views are
 * drawn for the row's own image, so they differ from the neighbour's. An evaluation leaves the row
 * out: the frame, b->count and views are shorter, even of no rows, and so is b->rows without
 * shards. (With shards no rank knows what others leave out.)
 *
 * NULL with a message, that of the first row that failed: skips wants to stop, or nothing can stand
 * in for a row. */
struct frame *augment_frame(struct augment *a, int64_t step, struct batch *b, struct view *views);

#endif
