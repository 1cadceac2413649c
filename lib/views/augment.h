/* augment: makes frames of views, of images or of series, on several threads. The bytes do not depend
 * on the number of threads. */
#ifndef AUGMENT_H
#define AUGMENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "data/batch_reader.h"
#include "data/read_errors.h"
#include "frame/frame.h"
#include "views/image_cache.h"
#include "views/policy.h"
#include "views/view.h"

struct augment {
    /* Filled by the caller, which keeps what the pointers point to until augment_free(). */
    struct batch_reader *reader;
    const struct policy *policies[2]; /* of an image's first view, and of its others */
    struct image_cache *cache;        /* of decoded images; NULL: none are kept */
    struct read_errors *errors;
    int size, n_views, n_threads;
    int channels; /* of series, whose views have `size` steps; 0: images */
    uint64_t seed;
    bool orient;             /* turn JPEGs as their EXIF orientation says */
    bool reduced;            /* decode JPEGs at 1/2, 1/4 or 1/8 where no crop needs more */
    const atomic_bool *stop; /* augment_frame() soon fails once it is set; may be NULL */
    /* Below: the module's own. */
    struct augment_worker *workers;
};

/* Returns -1 with a message if memory is out. Call augment_free() in any case. */
int augment_init(struct augment *a);
void augment_free(struct augment *a);

/* Makes the frame of a step: x U8 [n,V,S,S,3], of series F32 [n,V,1,S,C], y I64 [n] and index
 * I64 [n] for this rank's n rows, without metadata. *b becomes the batch. If views is not NULL,
 * views[n][V], with room for a whole batch, becomes what was drawn. The frame is the caller's.
 *
 * If the image of a row cannot be read, training shows the image of the row before it in the epoch,
 * whatever batch that is in, or of the one before that (batch_reader_place()). The views are drawn
 * for the row's own image, so they differ from the neighbour's. An evaluation leaves the row out:
 * the frame, b->count and views are shorter, even of no rows, and so is b->rows without shards.
 * (With shards no rank knows what others leave out.)
 *
 * Returns NULL with a message, which is that of the first row that failed: too many images cannot
 * be read, or no image can replace the row's. */
struct frame *augment_frame(struct augment *a, int64_t step, struct batch *b, struct view *views);

#endif
