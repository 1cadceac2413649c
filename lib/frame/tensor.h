/* tensor: an array of numbers with a name, an element type and a shape. */
#ifndef TENSOR_H
#define TENSOR_H

#include <stddef.h>
#include <stdint.h>

/* The element types of tensors, and their number. */
enum dtype { DTYPE_F32, DTYPE_BF16, DTYPE_F16, DTYPE_U8, DTYPE_I32, DTYPE_I64, DTYPE_COUNT };

enum { FRAME_MAX_DIMS = 8 };

/* A tensor of a frame. */
struct tensor {
    char *name; /* owned by the frame */
    enum dtype dtype;
    int ndim; /* 0 for a scalar */
    int64_t shape[FRAME_MAX_DIMS];
    size_t bytes; /* product of shape times element size */
    void *data;   /* row-major, in the frame's buffer */
};

/* The description of a tensor that a frame should allocate. */
struct tensor_spec {
    const char *name; /* owned by the caller */
    enum dtype dtype;
    int ndim;
    int64_t shape[FRAME_MAX_DIMS];
};

/* Return the element type's name in a header ("F32"), and its size in bytes (4). */
const char *dtype_name(enum dtype dtype);
size_t dtype_size(enum dtype dtype);

/* Returns a spec with name, dtype and shape of t. The name stays t's. */
struct tensor_spec tensor_spec_of(const struct tensor *t);

/* Returns the number of elements: 1 for a scalar, 0 if any dimension is 0. */
size_t tensor_count(const struct tensor *t);

/* Computes the size in bytes of a tensor of that shape. Returns -1 with a message if a dimension is
 * negative or the product overflows. */
int tensor_bytes(enum dtype dtype, int ndim, const int64_t *shape, size_t *out);

/* Writes "F32 [8,2,?]" into text; a dimension below 0 is shown as '?'. */
void tensor_describe(char *text, size_t size, enum dtype dtype, int ndim, const int64_t *shape);

#endif
