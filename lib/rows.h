/* rows: the images of a training step. Those of an indexed set are found by their numbers, those of
 * a stream have come through a shuffle buffer (WebDataset's way): it is filled, and each row is
 * drawn from it and replaced by the stream's next image. What is drawn is a function of the seed
 * and the epoch, so a run may begin at any step; a stream is then read up to there. */
#ifndef ROWS_H
#define ROWS_H

#include "batches.h"
#include "dataset.h"
#include "random.h"

/* Of a stream in training, so many rows before this rank's are kept as well. */
enum { ROWS_BEFORE = 8 };

struct rows {
    /* Filled by the caller. */
    struct dataset *set;
    struct batches *batches;
    int64_t buffer_images, buffer_bytes; /* bounds of the shuffle buffer; at least one image */
    /* Below: the module's own. */
    struct batch batch;
    struct row *buffer; /* of a stream */
    int64_t n, bytes;
    int64_t epoch, start; /* those of the batch that was read last */
    int64_t read, drawn;  /* images read and rows drawn in this epoch */
    bool ended;           /* the stream, in this epoch */
    struct random random;
    struct row *kept; /* drawn ones, by place modulo n_kept */
    int64_t n_kept;
};

/* After batches_init(). -1 with a message. rows_free() in any case. */
int rows_init(struct rows *r);
void rows_free(struct rows *r);

/* Makes a step's rows the present ones. -1 with a message, such as a stream that ends too soon. */
int rows_begin(struct rows *r, int64_t step);

/* Rows of an epoch have places, counted from its beginning: that of one of this rank's rows, first
 * <= row < first + count of the global batch, for `tried` 0. In training another image can stand in
 * for one that cannot be read: for 1, 2, ... the place of the one to try next, whatever batch it is
 * in, or -1 when there is none left. Of an indexed set that is each place before, and then from the
 * epoch's end on backwards; of a stream the ROWS_BEFORE places before, and at the beginning of an
 * epoch places after. */
int64_t rows_place(const struct rows *r, int64_t row, int64_t tried);
/* Number of the image at such a place. */
int64_t rows_index(const struct rows *r, int64_t place);
/* That image. As dataset_get(). */
int rows_get(const struct rows *r, int64_t place, struct sample *s);

#endif
