/* batch_reader: the images of a training step. Those of an indexed set are found by their numbers,
 * those of a stream have come through a shuffle buffer (WebDataset's way): it is filled, and each
 * row is drawn from it and replaced by the stream's next image. What is drawn is a function of the
 * seed and the epoch, so a run may begin at any step; a stream is then read up to there. */
#ifndef BATCH_READER_H
#define BATCH_READER_H

#include "base/random.h"
#include "data/dataset.h"
#include "data/sampler.h"

/* Of a stream in training, so many rows before this rank's are kept as well. */
enum { BATCH_READER_BEFORE = 8 };

struct batch_reader {
    /* Filled by the caller. */
    struct dataset *set;
    struct sampler *sampler;
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

/* After sampler_init(). -1 with a message. batch_reader_free() in any case. */
int batch_reader_init(struct batch_reader *r);
void batch_reader_free(struct batch_reader *r);

/* Makes a step's rows the present ones. -1 with a message, such as a stream that ends too soon. */
int batch_reader_begin(struct batch_reader *r, int64_t step);

/* Rows of an epoch have places, counted from its beginning: that of one of this rank's rows, first
 * <= row < first + count of the global batch, for `tried` 0. In training another image can stand in
 * for one that cannot be read: for 1, 2, ... the place of the one to try next, whatever batch it is
 * in, or -1 when there is none left. Of an indexed set that is each place before, and then from the
 * epoch's end on backwards; of a stream the BATCH_READER_BEFORE places before, and at the beginning
 * of an epoch places after. */
int64_t batch_reader_place(const struct batch_reader *r, int64_t row, int64_t tried);
/* Number of the image at such a place. */
int64_t batch_reader_index(const struct batch_reader *r, int64_t place);
/* That image. As dataset_get(). */
int batch_reader_get(const struct batch_reader *r, int64_t place, struct sample *s);

#endif
