/* data_source: the images that a run is made of: a data set opened, its images counted and chosen,
 * cut into batches whose rows can be read. */
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
    const char *data, *format, *split; /* as dataset_open() takes them; data is "" for shapes */
    const struct link_config *links;   /* for data that comes over a link */
    bool stop_on_error;                /* at an image that cannot be read; else it is skipped */
    int64_t cache;   /* bytes of images to hold, or of a stream's shuffle buffer */
    int64_t shuffle; /* images in that buffer */
    struct subset_options subset_options; /* labels 1: all; `held` is set here */
    struct sampler sampler;               /* checked; `images` and `chosen` are set here */
    bool epochs_given; /* sampler.epochs is no default, to be cut to 1 for a stream */
    /* Set by data_source_open(). */
    struct read_errors *errors;
    struct dataset *set;
    struct subset subset;
    struct batch_reader reader;
};

/* size: of the views, in pixels; 0 where it follows the images. A stream that cannot be counted has
 * one epoch, and as many images as `limit` or else sampler.steps say.
 *
 * A stream takes its first subset_options.limit images, which a line on stderr says.
 *
 * -1 with a message: one of dataset_open(), subset_choose(), sampler_init() or batch_reader_init();
 * or neither of the two says how many, or more epochs were given. data_source_close() in any case.
 */
int data_source_open(struct data_source *s, int size);
void data_source_close(struct data_source *s);

#endif
