/* sample: a labelled image or series as a data set holds it: the bytes of a PNG or JPEG file, or
 * pixels, or the values of a series. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stddef.h>
#include <stdint.h>

enum { SAMPLE_MAX_BYTES = 1 << 29 }; /* the longest encoded file that is read */

/* Start with {0}. One struct can be used for one sample after the other. */
struct sample {
    /* One of three things, in the sample's buffer or in memory of the data set:
     *
     *   an encoded file    width and height are 0
     *   pixels             U8 (height,width,3)
     *   a series           F32 (width,channels), height is 1; dataset_channels() is not 0 */
    const uint8_t *bytes;
    size_t size; /* of bytes */
    int width, height;
    int64_t label; /* class number, or -1: none */
    /* Where it comes from, for messages: "train-003.tar" and "dog/17.jpg". member is NULL if the
     * file is the image. The texts are the data set's, or this sample's `text`. */
    const char *file, *member;
    /* The sample's own memory. */
    uint8_t *buffer;
    size_t capacity; /* bytes of the buffer */
    char *text;      /* the path in its archive, or NULL */
    char *link;      /* of a link in an archive, which has no bytes: the path that it leads to */
};

/* Makes room for `size` bytes in the buffer, and points bytes there. Returns -1 with a message if
 * memory is out. */
int sample_reserve(struct sample *s, size_t size);
void sample_free(struct sample *s); /* leaves {0} */
/* Makes s refer to the bytes, label and names of another sample, which must outlive that use. The
 * memory that s owns stays its own. */
void sample_borrow(struct sample *s, const struct sample *other);

/* fail() with the sample's name before the text: "train.tar: dog/17.jpg: damaged PNG". Returns
 * -1. */
int sample_fail(const struct sample *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Reads the file `s->file`, or `size` bytes of it from `offset` on, into the buffer. It must be a
 * regular file, so this never waits for the writer of a FIFO. Set file and member before. Returns
 * -1 with a message. */
int sample_read_file(struct sample *s);
int sample_read_part(struct sample *s, int64_t offset, int64_t size);

#endif
