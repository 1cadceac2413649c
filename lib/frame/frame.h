/* frame: named tensors and metadata in one contiguous buffer that is a safetensors file.
 *
 *   offset 0   8 bytes, little-endian: length N of the header
 *   offset 8   N bytes of JSON, padded with spaces so that 8 + N is a multiple of 64
 *   offset 8+N the tensors' bytes, row-major, without gaps
 *
 * A stream is a sequence of frames; a checkpoint is a frame in a file. docs/frames.md shows literal
 * bytes; frame_io.h reads and writes files and pipes. In a frame that is made here, tensors whose
 * size is a multiple of 64 bytes come first, so these are 64-byte aligned in memory. Every other
 * tensor, whoever wrote the frame, is aligned at least to its element size. */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/tensor.h"

enum {
    FRAME_MAX_ENTRIES = 16384,            /* tensors, and metadata keys: look-ups are linear */
    FRAME_MAX_HEADER = 100 * 1000 * 1000, /* bytes of JSON, the limit of safetensors */
};
#define FRAME_DEFAULT_LIMIT ((size_t)4 << 30) /* default of --max-frame: bytes of a whole frame */

/* Memory for a frame's data that is not the frame's own, because two processes have it in common
 * (link/lender.h, link/borrower.h). A frame that holds it calls release() once, when it is freed or
 * when its data moves elsewhere. */
struct frame_memory {
    unsigned char *bytes; /* at a multiple of 64 */
    size_t size;
    uint32_t number; /* its name for both processes, below FRAME_MEMORIES */
    void (*release)(struct frame_memory *m);
};
enum { FRAME_MEMORIES = 1 << 20 };

/* A frame: tensors and metadata. */
struct frame {
    struct tensor *tensors; /* in the order of their bytes */
    int n_tensors;
    struct meta {
        char *key, *value;
    } * metas; /* __metadata__, in the order they were set or read */
    int n_metas;
    /* The members below are private to the module. */
    void *memory;                /* the allocation */
    unsigned char *buffer;       /* within memory: room for a header, then the data */
    size_t room;                 /* bytes before the data; a multiple of 64 */
    unsigned char *data;         /* the tensors' data: buffer + room, or in `shared` */
    size_t data_size;            /* bytes of tensor data */
    struct frame_memory *shared; /* memory that holds the data, or NULL */
    unsigned char *integers;     /* copies of integer tensors that came in it, or NULL */
};

/* Makes a frame with n tensors, filled with zeros, and no metadata; copies the names. n may be 0.
 * Returns NULL with a message if a name is empty or occurs twice, a dimension is negative, a shape
 * overflows, or memory is out. A process that makes or reads frames reuses the memory of freed
 * frames for those of the next step. */
struct frame *frame_new(const struct tensor_spec *specs, int n);
/* Does the same, but leaves the values uninitialized; for a caller that fills all tensors. */
struct frame *frame_new_unset(const struct tensor_spec *specs, int n);
/* Does the same with the data in `memory`, which the frame holds from then on, but not on failure.
 * It is a failure if the data does not fit. */
struct frame *frame_new_in(struct frame_memory *memory, const struct tensor_spec *specs, int n);
/* Copies the data into `memory`, which has room for it and which the frame holds from then on. */
void frame_move(struct frame *f, struct frame_memory *memory);
void frame_free(struct frame *f); /* NULL is fine */
/* Returns the memory of freed frames to the system, as far as possible: call it after freeing a
 * frame that is larger than any that follow. */
void frame_trim_memory(void);
/* Lets one thread make frames and another free them. Call it before the second thread starts. */
void frame_share_memory(void);

/* Return a deep copy, or a copy without tensors that has only the metadata. Both return NULL with
 * a message if memory is out. */
struct frame *frame_copy(const struct frame *f);
struct frame *frame_copy_metas(const struct frame *f);

/* Returns the tensor of that name, which the frame owns, or NULL without a message. */
struct tensor *frame_find(const struct frame *f, const char *name);

/* Returns the tensor of that name, dtype and shape, which the frame owns. A dimension of -1 in
 * shape matches any size; ndim = -1 matches any shape. Returns NULL with a message that says what
 * was found instead. */
struct tensor *frame_need(const struct frame *f, const char *name, enum dtype dtype, int ndim,
                          const int64_t *shape);

/* Read and set metadata. frame_meta() returns the value, which the frame owns, or NULL if the key
 * is missing. The numeric functions set *out to the value, or to the fallback if the key is
 * missing. They return -1 with a message if the value is not a number of that kind. Setting a key
 * replaces its value; floats are printed so that they read back exactly. If memory is out, setting
 * a key aborts the program, since nothing useful can follow. */
const char *frame_meta(const struct frame *f, const char *key);
int frame_meta_int(const struct frame *f, const char *key, int64_t fallback, int64_t *out);
int frame_meta_double(const struct frame *f, const char *key, double fallback, double *out);
void frame_set_meta(struct frame *f, const char *key, const char *value);
void frame_set_meta_int(struct frame *f, const char *key, int64_t value);
void frame_set_meta_float(struct frame *f, const char *key, float value); /* %.9g */
void frame_drop_meta(struct frame *f, const char *key);
/* Copies every key of `from` that `to` lacks. */
void frame_inherit_metas(struct frame *to, const struct frame *from);

/* Makes a frame with the n tensors of `add`, filled with zeros, copies of those tensors of `from`
 * that are named neither in `add` nor in the NULL-terminated list `except` (which may be NULL), and
 * all of `from`'s metadata. A filter makes its answers with this, so unknown tensors pass through.
 * Returns NULL with a message. */
struct frame *frame_derive(const struct frame *from, const struct tensor_spec *add, int n,
                           const char *const *except);

/* Make and recognize the frames that end a stream. An end frame has no tensors and the metadata end
 * = 1. In an error frame, the metadata `error` says what failed. */
struct frame *frame_new_end(void);
bool frame_is_end(const struct frame *f);
struct frame *frame_new_error(const char *message);

/* Writes the header in front of the data and sets *bytes and *size to the whole frame as it is sent
 * or stored. They are valid until the frame is changed or freed. With crc, sets the metadata
 * `crc32` to the CRC-32 of the data; without it, drops that key, since its value may be out of
 * date. Returns -1 with a message. Data in shared memory is copied behind the header first. */
int frame_seal(struct frame *f, bool crc, const unsigned char **bytes, size_t *size);

/* Does the same for a frame whose data lies in shared memory and stays there: sets *bytes and *size
 * to the header alone. Its first 8 bytes hold the header's length in bits 0 to 31, the memory's
 * number in bits 32 to 62, and a 1 in bit 63, with which no other frame begins. */
int frame_seal_header(struct frame *f, bool crc, const unsigned char **bytes, size_t *size);

/* Parses a whole frame in memory and copies it. `where` names the source in messages. Returns NULL
 * with a message that names the defect, and the byte offset where that helps. */
struct frame *frame_parse(const void *bytes, size_t size, const char *where);

/* The two halves of frame_parse(), for a reader of streams.
 *
 * frame_from_header() makes a frame from a header's JSON. Its tensors have room but no values yet:
 * the caller reads the next data_size bytes of the stream into *data. It allocates at most `limit`
 * bytes.
 *
 * frame_finish() is called after the data has been read. It checks `crc32` and moves tensors whose
 * address does not fit their element type. It consumes f and returns the frame to use, or NULL with
 * a message. */
struct frame *frame_from_header(const char *json, size_t length, size_t limit, const char *where,
                                unsigned char **data);
struct frame *frame_finish(struct frame *f, const char *where);

/* How a reader finds shared memory. find() returns the memory of this number, for a frame to hold,
 * or NULL with a message if there is none or if `size` bytes of data do not fit into it. */
struct frame_finder {
    struct frame_memory *(*find)(void *user, uint32_t number, size_t size);
    void *user;
};

/* Does the same as frame_parse() for a message that may have shared memory, unless finder is NULL. */
struct frame *frame_parse_shared(const void *bytes, size_t size, const char *where,
                                 const struct frame_finder *finder);

/* Returns true if a frame's first 8 bytes, as a little-endian number, say that its data lies in
 * shared memory; sets *number, and reduces *length to the length of the header. */
bool frame_is_shared(uint64_t *length, uint32_t *number);

/* Makes a frame from a header's JSON and the memory in which its data lies. Another process may
 * change that data at any time. So the frame gets copies of integer tensors, since a program may use
 * integers as indices after it has checked them. They are written back when the frame is sent.
 * Returns NULL with a message. */
struct frame *frame_from_shared(const char *json, size_t length, size_t limit, const char *where,
                                const struct frame_finder *finder, uint32_t number);

#endif
