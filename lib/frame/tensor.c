#include "frame/tensor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"

static const struct {
    const char *name;
    size_t size;
} dtypes[DTYPE_COUNT] = {
    [DTYPE_F32] = {"F32", 4}, [DTYPE_BF16] = {"BF16", 2}, [DTYPE_F16] = {"F16", 2},
    [DTYPE_U8] = {"U8", 1},   [DTYPE_I32] = {"I32", 4},   [DTYPE_I64] = {"I64", 8},
};

const char *dtype_name(enum dtype dtype)
{
    return dtypes[dtype].name;
}

size_t dtype_size(enum dtype dtype)
{
    return dtypes[dtype].size;
}

size_t tensor_count(const struct tensor *t)
{
    return t->bytes / dtypes[t->dtype].size;
}

struct tensor_spec tensor_spec_of(const struct tensor *t)
{
    struct tensor_spec spec = {.name = t->name, .dtype = t->dtype, .ndim = t->ndim};
    memcpy(spec.shape, t->shape, sizeof spec.shape);
    return spec;
}

int tensor_bytes(enum dtype dtype, int ndim, const int64_t *shape, size_t *out)
{
    size_t bytes = dtypes[dtype].size;
    for (int i = 0; i < ndim; i++) {
        if (shape[i] < 0)
            return fail("a dimension is negative");
        if (__builtin_mul_overflow(bytes, (size_t)shape[i], &bytes) || bytes > SIZE_MAX / 4)
            return fail("the shape overflows");
    }
    *out = bytes;
    return 0;
}

void tensor_describe(char *text, size_t size, enum dtype dtype, int ndim, const int64_t *shape)
{
    size_t at = (size_t)snprintf(text, size, "%s [", dtypes[dtype].name);
    for (int i = 0; i < ndim && at < size; i++) {
        int n = shape[i] < 0 ? snprintf(text + at, size - at, "%s?", i ? "," : "")
                             : snprintf(text + at, size - at, "%s%" PRId64, i ? "," : "", shape[i]);
        at += (size_t)n;
    }
    if (at < size)
        snprintf(text + at, size - at, "]");
}
