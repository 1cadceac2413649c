/* data_source: the images of a run. It opens a data set, counts its images and chooses among them,
 * and prepares a sampler and a reader of its batches. */
#ifndef DATA_SOURCE_H
#define DATA_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "data/batch_reader.h"
#include "data/dataset.h"
#include "data/read_errors.h"
#include "data/sampler.h"
#include "data/subset.h"

struct data_source {
    /* The caller fills these in. */
    const char *data, *format, *split; /* as in struct dataset_options; data may be "" for shapes */
    const struct link_config *links;   /* for data that comes over a link */
    bool stop_on_error;                /* end the run at the first image that cannot be read */
    int64_t cache;   /* bytes of images held in memory, or bytes of a stream's shuffle buffer */
    int64_t shuffle; /* number of images in that buffer */
    int64_t count;   /* number of images of the split, if it is known; 0: they are counted */
    int64_t retries; /* of the command of a shard */
    struct subset_options subset_options; /* held_out is set by data_source_open() */
    struct sampler
        sampler;       /* checked by sampler_check(); data_source_open() sets images and chosen */
    bool epochs_given; /* the user gave sampler.epochs; a default would become 1 for a stream
                          that comes once */
    /* data_source_open() sets these. */
    struct read_errors *errors;
    struct dataset *set;
    struct subset subset;
    struct batch_reader reader;
};

/* Opens the data set, the subset, the sampler and the reader. size is that of the views in pixels a
 * side, or 0 if it follows from the images. A stream ends after its first subset_options.limit
 * images; a line on stderr reports this. A stream that cannot be counted has one epoch of `limit`
 * images, or of as many images as sampler.steps need.
 *
 * Returns -1 with a message on failure: if dataset_open(), subset_choose(), sampler_init() or
 * batch_reader_init() fails, or if a stream that comes once has neither `limit` nor `steps`, or has
 * several epochs. The caller calls data_source_close() in any case. */
int data_source_open(struct data_source *s, int size);
void data_source_close(struct data_source *s);

#endif
