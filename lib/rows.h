/* rows: the images of a training step. Those of an indexed set are found by their numbers, those of
 * a stream have come through a shuffle buffer (WebDataset's way): it is filled, and each row is
 * drawn from it and replaced by the stream's next image. What is drawn is a function of the seed
 * and the epoch, so a run may begin at any step; a stream is then read up to there. */
#ifndef ROWS_H
#define ROWS_H

#include "batches.h"
#include "dataset.h"
#include "random.h"

/* Of a stream, so many rows before this rank's are kept as well (see augment.h). */
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
    int64_t epoch, read, handed; /* images read and rows handed on in this epoch */
    bool ended;                  /* the stream, in this epoch */
    struct random random;
    struct row *kept; /* by row of the global batch */
};

/* After batches_init(). -1 with a message. rows_free() in any case. */
int rows_init(struct rows *r);
void rows_free(struct rows *r);

/* Makes a step's rows the present ones. -1 with a message, such as a stream that ends too soon. */
int rows_begin(struct rows *r, int64_t step);

/* Number of the image in a row of the global batch: first-ROWS_BEFORE .. first+count-1, modulo
 * rows. */
int64_t rows_index(const struct rows *r, int64_t row);
/* That image. As dataset_get(). */
int rows_get(const struct rows *r, int64_t row, struct sample *s);

#endif
