/* augment: makes frames of views of images or of series, on several threads. The bytes do not
 * depend on the number of threads. */
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
    /* The caller fills these in, and keeps what the pointers point to until augment_free(). */
    struct batch_reader *reader;
    const struct policy *policies[2]; /* for the first view of an image, and for its other views */
    struct image_cache *cache;        /* of decoded images; NULL: no cache */
    struct read_errors *errors;
    int size, n_views, n_threads;
    int channels; /* channels of series, whose views have `size` steps; 0: images */
    int raw;      /* channels of images whose views are floats; 0: RGB of 8 bits */
    uint64_t seed;
    bool orient;             /* turn JPEGs as their EXIF orientation says */
    bool reduced;            /* decode JPEGs at 1/2, 1/4 or 1/8 where no crop needs more */
    const atomic_bool *stop; /* once it is set, augment_frame() soon fails; may be NULL */
    /* These are the module's own. */
    struct augment_worker *workers;
};

/* Returns -1 with a message if memory is out. Call augment_free() in any case. */
int augment_init(struct augment *a);
void augment_free(struct augment *a);

/* Makes the frame of a step: x U8 [n,V,S,S,3], or F32 [n,V,S,S,C] for raw images, or F32
 * [n,V,1,S,C] for series, y I64 [n] and index
 * I64 [n] for this rank's n rows, without metadata. Sets *b to the batch. If views is not NULL,
 * sets views[n][V], which has room for a whole batch, to what was drawn. The frame belongs to the
 * caller.
 *
 * If the image of a row cannot be read, training shows the image of a row before it in the epoch,
 * which may be in another batch (batch_reader_place()). The views are drawn for the row's own
 * image, so they differ from those of the other row. An evaluation leaves the row out: the frame,
 * b->count and views are shorter, and may even have no rows. Without shards b->rows is shorter as
 * well; with shards no rank knows which rows the others leave out.
 *
 * Returns NULL with the message of the first row that failed: too many images cannot be read, or no
 * image can replace that of the row. */
struct frame *augment_frame(struct augment *a, int64_t step, struct batch *b, struct view *views);

#endif
