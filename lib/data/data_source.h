/* data_source: the images of a run: opens a data set, counts its images and chooses among them, and
 * prepares a sampler and a reader of its batches. */
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
    /* Filled by the caller. */
    const char *data, *format, *split; /* as in struct dataset_options; data may be "" for shapes */
    const struct link_config *links;   /* for data that comes over a link */
    bool stop_on_error;                /* end the run at an image that cannot be read */
    int64_t cache;   /* bytes of images to hold, or of a stream's shuffle buffer */
    int64_t shuffle; /* images in that buffer */
    struct subset_options subset_options; /* held_out is set by data_source_open() */
    struct sampler
        sampler;       /* checked by sampler_check(); data_source_open() sets images and chosen */
    bool epochs_given; /* sampler.epochs is no default, which would become 1 for a stream that
                             * comes once */
    /* Set by data_source_open(). */
    struct read_errors *errors;
    struct dataset *set;
    struct subset subset;
    struct batch_reader reader;
};

/* Opens all of it. size is that of the views, in pixels a side; 0 if it follows the images. A
 * stream takes its first subset_options.limit images, which a line on stderr says. One that cannot
 * be counted has one epoch, of `limit` images or of as many as sampler.steps need.
 *
 * Returns -1 with a message: that of dataset_open(), subset_choose(), sampler_init() or
 * batch_reader_init(); or a stream that comes once has neither `limit` nor `steps`, or was given
 * several epochs. data_source_close() in any case. */
int data_source_open(struct data_source *s, int size);
void data_source_close(struct data_source *s);

#endif
