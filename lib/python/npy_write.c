#include "python/npy_write.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"

enum {
    HEADER = 256, /* bytes before the data, a multiple of 64: room for FRAME_MAX_DIMS lengths */
    MAGIC = 10    /* bytes before the dictionary: a magic string, a version, a length */
};

/* Returns numpy's name of a type, or NULL if it has none. */
static const char *type_name(enum dtype dtype)
{
    static const char *const names[DTYPE_COUNT] = {[DTYPE_F32] = "<f4",
                                                   [DTYPE_F16] = "<f2",
                                                   [DTYPE_U8] = "|u1",
                                                   [DTYPE_I32] = "<i4",
                                                   [DTYPE_I64] = "<i8"};
    return names[dtype];
}

int npy_write_open(struct npy_write *w, const char *path)
{
    static const char blank[HEADER];
    *w = (struct npy_write){.path = path};
    if (atomic_file_open(&w->to, path))
        return -1;
    fwrite(blank, 1, HEADER, w->to.file);
    return 0;
}

static int take_shape(struct npy_write *w, const struct tensor *t)
{
    if (t->ndim == 0)
        return fail("%s is a scalar, which has no rows", t->name);
    if (!type_name(t->dtype))
        return fail("%s is %s, which numpy lacks", t->name, dtype_name(t->dtype));
    const bool single = t->ndim > 2 && t->shape[1] == 1;
    const int ndim = t->ndim - single;
    int64_t shape[FRAME_MAX_DIMS] = {0};
    for (int i = 1; i < ndim; i++)
        shape[i] = t->shape[i + single];
    if (!w->ndim) {
        w->dtype = t->dtype;
        w->ndim = ndim;
        memcpy(w->shape, shape, sizeof w->shape);
    }
    if (w->dtype != t->dtype || w->ndim != ndim || memcmp(w->shape, shape, sizeof shape) != 0) {
        char now[128], first[128];
        shape[0] = w->shape[0] = -1;
        tensor_describe(now, sizeof now, t->dtype, ndim, shape);
        tensor_describe(first, sizeof first, w->dtype, w->ndim, w->shape);
        return fail("%s has rows of %s after rows of %s", t->name, now, first);
    }
    return 0;
}

int npy_write_rows(struct npy_write *w, const struct tensor *t)
{
    if (take_shape(w, t))
        return -1;
    w->rows += t->shape[0];
    if (t->bytes && fwrite(t->data, 1, t->bytes, w->to.file) != t->bytes)
        return fail("%s: %s", w->path, strerror(errno));
    return 0;
}

int npy_write_commit(struct npy_write *w)
{
    unsigned char header[HEADER + 1] = "\x93NUMPY\x01"; /* version 1.0 */
    char *text = (char *)header + MAGIC;
    const size_t room = HEADER - MAGIC;
    header[8] = (unsigned char)(room & 0xff);
    header[9] = (unsigned char)(room >> 8);
    if (!w->ndim) {
        npy_write_abandon(w);
        return fail("%s: no rows to write", w->path);
    }
    int length = snprintf(text, room, "{'descr': '%s', 'fortran_order': False, 'shape': (%" PRId64,
                          type_name(w->dtype), w->rows);
    for (int i = 1; i < w->ndim; i++)
        length += snprintf(text + length, room - (size_t)length, ", %" PRId64, w->shape[i]);
    length += snprintf(text + length, room - (size_t)length, w->ndim == 1 ? ",), }" : "), }");
    memset(text + length, ' ', room - 1 - (size_t)length);
    text[room - 1] = '\n';
    if (fseeko(w->to.file, 0, SEEK_SET) || fwrite(header, 1, HEADER, w->to.file) != HEADER) {
        const int error = errno;
        npy_write_abandon(w);
        return fail("%s: %s", w->path, strerror(error));
    }
    const int result = atomic_file_commit(&w->to);
    *w = (struct npy_write){0};
    return result;
}

void npy_write_abandon(struct npy_write *w)
{
    if (w->to.file)
        atomic_file_abandon(&w->to);
    w->to = (struct atomic_file){0};
}
