/* batch_reader: reads the images of a batch.
 *
 * The images of an indexed set are read by their numbers. Those of a stream go through a shuffle
 * buffer, as in WebDataset: the reader fills the buffer, draws each row from it, and puts the
 * stream's next image in its place. What it draws is a function of the seed and the epoch, so a run
 * may begin at any step; it then reads the stream up to that step. */
#ifndef BATCH_READER_H
#define BATCH_READER_H

#include "base/random.h"
#include "data/dataset.h"
#include "data/sampler.h"

/* Number of rows before those of this rank that are also kept when training from a stream. */
enum { BATCH_READER_BEFORE = 8 };

struct batch_reader {
    /* The caller fills these in. */
    struct dataset *set;
    struct sampler *sampler;
    int64_t buffer_images,
        buffer_bytes; /* limits of the shuffle buffer, which has room for at least one image */
    /* These are the module's own; callers may read `batch` and `read`. */
    struct batch batch;        /* the batch that was begun last */
    struct reader_row *buffer; /* the shuffle buffer of a stream, or NULL */
    int64_t n, bytes;          /* rows in the buffer, and their bytes */
    int64_t epoch, start;      /* epoch and first place of the previous batch */
    int64_t read, drawn;       /* images read and rows drawn in this epoch */
    bool ended;                /* the stream has ended in this epoch */
    struct random random;
    struct reader_row *kept; /* rows that were drawn; the row at a place is kept[place % n_kept] */
    int64_t n_kept;
};

/* Prepares the reader. Call it after sampler_init(). Returns -1 with a message on failure. The
 * caller calls batch_reader_free() in any case. */
int batch_reader_init(struct batch_reader *r);
void batch_reader_free(struct batch_reader *r);

/* Begins the batch of a step. Returns -1 with a message on failure, for example if a stream ends
 * too early. */
int batch_reader_begin(struct batch_reader *r, int64_t step);

/* Rows have places in their epoch, counted from its beginning. With `tried` 0, returns the place of
 * one of this rank's rows, first <= row < first + count of the global batch.
 *
 * In training, another image can replace one that cannot be read. With `tried` 1, 2, ... returns
 * the place to try next, which may be in another batch, or -1 if there is none left. These places
 * are:
 *
 *   indexed set   the places before it, from the nearest on, and then those from the end of the
 *                 epoch backward
 *   stream        the BATCH_READER_BEFORE places before it; at the beginning of an epoch, places
 *                 after it */
int64_t batch_reader_place(const struct batch_reader *r, int64_t row, int64_t tried);
/* Returns the number of the image at such a place. */
int64_t batch_reader_index(const struct batch_reader *r, int64_t place);
/* Gets the image at such a place, as dataset_get() does. Several threads may call this at once. */
int batch_reader_get(const struct batch_reader *r, int64_t place, struct sample *s);

#endif
