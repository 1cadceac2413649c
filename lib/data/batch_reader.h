/* batch_reader: reads the images of a batch.
 *
 * Images of an indexed set are found by their numbers. Those of a stream go through a shuffle
 * buffer, as in WebDataset: the buffer is filled, and each row is drawn from it and replaced by
 * the stream's next image. What is drawn is a function of the seed and the epoch, so a run may
 * begin at any step: the stream is then read up to there. */
#ifndef BATCH_READER_H
#define BATCH_READER_H

#include "base/random.h"
#include "data/dataset.h"
#include "data/sampler.h"

/* Of a stream in training, this many rows before those of this rank are kept, too. */
enum { BATCH_READER_BEFORE = 8 };

struct batch_reader {
    /* Filled by the caller. */
    struct dataset *set;
    struct sampler *sampler;
    int64_t buffer_images,
        buffer_bytes; /* limits of the shuffle buffer, which has one image or more */
    /* The module's own; `batch` and `read` may be looked at. */
    struct batch batch;        /* the one that was begun last */
    struct reader_row *buffer; /* of a stream, or NULL */
    int64_t n, bytes;          /* rows in the buffer, and their bytes */
    int64_t epoch, start;      /* of the batch before */
    int64_t read, drawn;       /* images read and rows drawn in this epoch */
    bool ended;                /* the stream has ended in this epoch */
    struct random random;
    struct reader_row *kept; /* rows that were drawn: the row at a place is kept[place % n_kept] */
    int64_t n_kept;
};

/* To be called after sampler_init(). Returns -1 with a message. batch_reader_free() in any case. */
int batch_reader_init(struct batch_reader *r);
void batch_reader_free(struct batch_reader *r);

/* Begins the batch of a step. Returns -1 with a message, as when a stream ends too early. */
int batch_reader_begin(struct batch_reader *r, int64_t step);

/* Rows have places in their epoch, counted from its beginning. With `tried` 0, returns the place of
 * one of this rank's rows, first <= row < first + count of the global batch.
 *
 * In training, another image can replace one that cannot be read. With `tried` 1, 2, ... returns
 * the place to try next, which may be in another batch, or -1 if there is none left:
 *
 *   indexed set   the places before, one after the other, and then those from the epoch's end on
 *                 backward
 *   stream        the BATCH_READER_BEFORE places before; at the beginning of an epoch, places
 *                 after it */
int64_t batch_reader_place(const struct batch_reader *r, int64_t row, int64_t tried);
/* The number of the image at such a place. */
int64_t batch_reader_index(const struct batch_reader *r, int64_t place);
/* Gets that image, as dataset_get() does. Several threads may call this at once. */
int batch_reader_get(const struct batch_reader *r, int64_t place, struct sample *s);

#endif
