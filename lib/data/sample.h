/* sample: one labelled image or series of a data set, as the bytes of an image file, as pixels, or
 * as the values of a series. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "data/image.h"

enum { SAMPLE_MAX_BYTES = 1 << 29 }; /* largest encoded file that is read */

/* A sample, which starts as {0}. One struct can be used for one sample after the other. */
struct sample {
    /* One of three kinds of data, in the sample's buffer or in memory of the data set:
     *
     *   an encoded file    width and height are 0
     *   pixels             (height,width,channels), of that kind; {0} is U8 (height,width,3)
     *   a series           F32 (width,channels), height is 1; dataset_channels() is not 0 */
    const uint8_t *bytes;
    size_t size; /* number of bytes */
    int width, height;
    struct image_kind kind; /* of pixels */
    int64_t label;          /* class number, or -1: none */
    /* The sample's origin, for messages: "train-003.tar" and "dog/17.jpg". member is NULL if the
     * file is the image. The texts belong to the data set, or are this sample's `text`. */
    const char *file, *member;
    /* The sample's own memory. */
    uint8_t *buffer;
    size_t capacity; /* bytes of the buffer */
    char *text;      /* the sample's path in its archive, or NULL */
    char *link;      /* of a link in an archive, which has no bytes: the path that it leads to */
};

/* Makes room for `size` bytes in the buffer, and sets bytes to it. Returns -1 with a message if
 * memory is out. */
int sample_reserve(struct sample *s, size_t size);
void sample_free(struct sample *s); /* leaves {0} */
/* Makes s refer to the bytes, label and names of another sample, which must exist as long as s
 * refers to it. s keeps the memory that it owns. */
void sample_borrow(struct sample *s, const struct sample *other);

/* Calls fail() with the sample's name before the text: "train.tar: dog/17.jpg: damaged PNG".
 * Returns -1. */
int sample_fail(const struct sample *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Read the file `s->file`, or `size` bytes of it from `offset` on, into the buffer. It must be a
 * regular file, so these functions never wait for the writer of a FIFO. Set file and member before.
 * Return -1 with a message on failure. */
int sample_read_file(struct sample *s);
int sample_read_part(struct sample *s, int64_t offset, int64_t size);

#endif
