/* frame: named tensors and metadata in one contiguous buffer that is a safetensors file.
 *
 *   offset 0   8 bytes, little-endian: length N of the header
 *   offset 8   N bytes of JSON, padded with spaces so that 8 + N is a multiple of 64
 *   offset 8+N the tensors' bytes, row-major, without gaps
 *
 * A stream is frames one after the other; a checkpoint is a frame in a file. docs/frames.md shows
 * literal bytes; frame_io.h reads and writes files and pipes. Tensors whose size is a multiple of
 * 64 bytes come first in a frame that is made here, so they are 64-byte aligned in memory; every
 * other tensor, whoever wrote the frame, is aligned at least to its element. */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/tensor.h"

enum {
    FRAME_MAX_ENTRIES = 16384,            /* tensors, and metadata keys: look-ups are linear */
    FRAME_MAX_HEADER = 100 * 1000 * 1000, /* bytes of JSON, as safetensors has it */
};
#define FRAME_DEFAULT_LIMIT ((size_t)4 << 30) /* --max-frame: bytes of a whole frame */

struct frame {
    struct tensor *tensors; /* in the order of their bytes */
    int n_tensors;
    struct meta {
        char *key, *value;
    } * metas; /* __metadata__, in the order they were set or read */
    int n_metas;
    /* Below: the module's own. */
    void *memory;          /* allocation */
    unsigned char *buffer; /* in it: room for a header, then the data */
    size_t room;           /* bytes before the data; a multiple of 64 */
    size_t data_size;      /* bytes of tensor data */
};

/* A frame with these tensors, filled with zeros, and no metadata. NULL if a name is empty or
 * doubled, a shape is negative or overflows, or memory is out. n may be 0. A program that makes or
 * reads frames keeps the memory of those it frees, for the next step's. */
struct frame *frame_new(const struct tensor_spec *specs, int n);
/* The same, but the tensors hold anything: for a caller that fills them all. */
struct frame *frame_new_unset(const struct tensor_spec *specs, int n);
void frame_free(struct frame *f); /* NULL is fine */
/* The memory of freed frames stays with the process, for those to come. This gives back to the
 * system what it can, after a frame larger than any to come. */
void frame_trim_memory(void);
/* For frames that a thread makes and another frees: to be called before the thread is started. */
void frame_share_memory(void);

/* A deep copy; or one without tensors that carries the metadata alone. NULL: out of memory. */
struct frame *frame_copy(const struct frame *f);
struct frame *frame_copy_metas(const struct frame *f);

/* The tensor of that name, or NULL (no message). */
struct tensor *frame_find(const struct frame *f, const char *name);

/* The tensor of that name, dtype and shape. A dimension of -1 in shape matches any size; ndim of
 * -1 matches any shape. NULL with a message that says what was found instead. */
struct tensor *frame_need(const struct frame *f, const char *name, enum dtype dtype, int ndim,
                          const int64_t *shape);

/* Metadata. A get returns the value, or NULL / the fallback where the key is missing; the numeric
 * ones return 0 and set *out, or -1 with a message if a value is present and no number of that
 * kind. A set replaces; floats are printed so that they read back exactly. Sets abort the program
 * when memory is out, since nothing useful can follow. */
const char *frame_meta(const struct frame *f, const char *key);
int frame_meta_int(const struct frame *f, const char *key, int64_t fallback, int64_t *out);
int frame_meta_double(const struct frame *f, const char *key, double fallback, double *out);
void frame_set_meta(struct frame *f, const char *key, const char *value);
void frame_set_meta_int(struct frame *f, const char *key, int64_t value);
void frame_set_meta_float(struct frame *f, const char *key, float value); /* %.9g */
void frame_drop_meta(struct frame *f, const char *key);
/* Copies every key of `from` that `to` lacks. */
void frame_inherit_metas(struct frame *to, const struct frame *from);

/* New frame with the tensors of `add` (n of them, zero-filled) followed by copies of those of
 * `from` that are named neither in `add` nor in the NULL-terminated list `except` (may be NULL),
 * and all of `from`'s metadata. This is how a filter answers: unknown tensors pass through. */
struct frame *frame_derive(const struct frame *from, const struct tensor_spec *add, int n,
                           const char *const *except);

/* End of stream: no tensors and end = 1. An error frame: `error` says what failed. */
struct frame *frame_new_end(void);
bool frame_is_end(const struct frame *f);
struct frame *frame_new_error(const char *message);

/* Writes the header into the room before the data and sets *bytes, *size to the whole frame as it
 * goes over a wire; they stay valid until the frame is changed or freed. With crc, adds metadata
 * `crc32` of the data; without, drops what was there, for it may be stale. */
int frame_seal(struct frame *f, bool crc, const unsigned char **bytes, size_t *size);

/* Parses a whole frame that lies in memory (copied). `where` names the source in messages. NULL
 * with a message naming the defect, and the byte offset where it helps. */
struct frame *frame_parse(const void *bytes, size_t size, const char *where);

/* The two halves of it, for a reader of streams. From a header's JSON: a frame whose tensors and
 * buffer are ready but not yet filled; its data_size bytes belong at *data. No more than `limit`
 * bytes are allocated. Once they are there, frame_finish() checks `crc32` and moves tensors that
 * lie at addresses their element type forbids: it returns the frame to use (f is gone), or NULL
 * with a message (f is freed). */
struct frame *frame_from_header(const char *json, size_t length, size_t limit, const char *where,
                                unsigned char **data);
struct frame *frame_finish(struct frame *f, const char *where);

#endif
