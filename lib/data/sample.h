/* sample: a labelled image as its source holds it: a PNG or JPEG file's bytes, or pixels; or a
 * series. */
#ifndef SAMPLE_H
#define SAMPLE_H

#include <stddef.h>
#include <stdint.h>

enum { SAMPLE_MAX_BYTES = 1 << 29 }; /* of an encoded file */

struct sample {
    /* The file's, or U8 (height,width,3), or F32 (width,channels) of a series, which the data set
     * knows; in buffer or the source's memory. */
    const uint8_t *bytes;
    size_t size;
    int width, height; /* of pixels; 0: the bytes are encoded; of a series its steps, and 1 */
    int64_t label;     /* class number, or -1 */
    /* For messages, in the source's memory or in text: "train-003.tar", "dog/17.jpg" (NULL: the
     * file is the image). */
    const char *file, *member;
    /* Below: memory of its own, which one sample after the other can use. Start with {0}. */
    uint8_t *buffer;
    size_t capacity;
    char *text;
    char *link; /* of a link in an archive, which has no bytes: the path that it leads to */
};

/* Makes room for `size` bytes in buffer and points bytes there. -1: memory is out. */
int sample_reserve(struct sample *s, size_t size);
void sample_free(struct sample *s); /* leaves {0} */
/* Makes s show what another holds, without taking it over; keeps its own memory. */
void sample_borrow(struct sample *s, const struct sample *other);

/* fail() with the sample's name in front: "train.tar: dog/17.jpg: damaged PNG". */
int sample_fail(const struct sample *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Fills bytes with the file of that name, or `size` bytes of it from `offset` on. It must be a
 * regular one: never waits for a FIFO's writer. file and member are set before. -1 with a message.
 */
int sample_read_file(struct sample *s);
int sample_read_part(struct sample *s, int64_t offset, int64_t size);

#endif
