#include "python/npy.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/regular_file.h"

enum { MAX_HEADER = 1 << 16, BLOCK = 4096 /* values */ };

static const struct {
    const char *name; /* as descr names it */
    size_t bytes;
} types[] = {[NPY_F32] = {"<f4", 4},
             [NPY_F64] = {"<f8", 8},
             [NPY_U8] = {"|u1", 1},
             [NPY_I32] = {"<i4", 4},
             [NPY_I64] = {"<i8", 8}};
enum { N_TYPES = sizeof types / sizeof types[0] };

/* ---- the header's dictionary ---- */

static void skip_blanks(const char **at)
{
    while (**at == ' ')
        ++*at;
}

/* Moves past a mark, such as a comma, and the blanks around it. Returns false if it is missing. */
static bool take(const char **at, const char *mark)
{
    skip_blanks(at);
    const size_t length = strlen(mark);
    if (strncmp(*at, mark, length) != 0)
        return false;
    *at += length;
    skip_blanks(at);
    return true;
}

static int parse_type(const char **at, struct npy *n)
{
    for (int i = 0; i < N_TYPES; i++) {
        char quoted[8];
        snprintf(quoted, sizeof quoted, "'%s'", types[i].name);
        if (take(at, quoted)) {
            n->type = (enum npy_type)i;
            return 0;
        }
    }
    return fail("%s: values of type %.*s (it must be <f4, <f8, |u1, <i4 or <i8)", n->path,
                (int)strcspn(*at, ","), *at);
}

static int parse_shape(const char **at, struct npy *n)
{
    if (!take(at, "("))
        return fail("%s: its shape is no tuple", n->path);
    for (n->ndim = 0; !take(at, ")"); n->ndim++) {
        char *end;
        errno = 0;
        const long long length = isdigit((unsigned char)**at) ? strtoll(*at, &end, 10) : -1;
        if (length < 0 || errno || n->ndim == NPY_MAX_DIMS)
            return fail("%s: its shape is not made of 1 to %d lengths", n->path, NPY_MAX_DIMS);
        n->shape[n->ndim] = length;
        *at = end;
        if (!take(at, ",") && **at != ')')
            return fail("%s: its shape is no tuple", n->path);
    }
    return 0;
}

/* Parses the dictionary, which has each of the three keys once, in any order. */
static int parse_header(const char *text, struct npy *n)
{
    bool type = false, order = false, shape = false;
    const char *at = text;
    if (!take(&at, "{"))
        return fail("%s: its header is no dictionary", n->path);
    while (!take(&at, "}")) {
        if (!type && take(&at, "'descr':")) {
            type = true;
            if (parse_type(&at, n))
                return -1;
        } else if (!order && take(&at, "'fortran_order':")) {
            order = true;
            if (!take(&at, "False"))
                return fail("%s: not in C order", n->path);
        } else if (!shape && take(&at, "'shape':")) {
            shape = true;
            if (parse_shape(&at, n))
                return -1;
        } else
            return fail("%s: cannot make sense of its header", n->path);
        if (!take(&at, ",") && *at != '}')
            return fail("%s: cannot make sense of its header", n->path);
    }
    if (strcmp(at, "\n") != 0 || !type || !order || !shape)
        return fail("%s: cannot make sense of its header", n->path);
    return 0;
}

/* ---- the file ---- */

/* Counts the values that the header claims, and checks that the file has exactly their bytes. */
static int check_size(struct npy *n, int64_t bytes)
{
    n->count = 1;
    for (int i = 0; i < n->ndim; i++)
        if (__builtin_mul_overflow(n->count, n->shape[i], &n->count))
            return fail("%s: its shape overflows", n->path);
    int64_t claimed;
    if (__builtin_mul_overflow(n->count, (int64_t)types[n->type].bytes, &claimed))
        return fail("%s: its shape overflows", n->path);
    if (claimed != bytes)
        return fail("%s: %lld bytes of values, and its header claims %lld", n->path,
                    (long long)bytes, (long long)claimed);
    return 0;
}

static int read_header(struct npy *n, int64_t size)
{
    uint8_t start[12];
    if (fread(start, 1, 10, n->file) != 10 || memcmp(start, "\x93NUMPY", 6) != 0)
        return fail("%s: not a file of numpy's", n->path);
    if (start[6] < 1 || start[6] > 3 || start[7] != 0)
        return fail("%s: version %d.%d of the format", n->path, start[6], start[7]);
    size_t length = (size_t)(start[8] | start[9] << 8);
    int64_t at = 10;
    if (start[6] > 1) { /* the length has four bytes */
        if (fread(start + 10, 1, 2, n->file) != 2)
            return fail("%s: truncated", n->path);
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
        at = 12;
    }
    if (length > MAX_HEADER || at + (int64_t)length > size)
        return fail("%s: a header of %zu bytes", n->path, length);
    char *text = malloc(length + 1);
    if (!text)
        return fail_memory(n->path);
    int result = 0;
    if (fread(text, 1, length, n->file) != length || memchr(text, '\0', length))
        result = fail("%s: cannot make sense of its header", n->path);
    text[length] = '\0';
    if (!result)
        result = parse_header(text, n);
    free(text);
    return result ? -1 : check_size(n, size - at - (int64_t)length);
}

int npy_open(struct npy *n, const char *path)
{
    *n = (struct npy){.path = path};
    int64_t size;
    const int fd = regular_file_open(path, &size);
    if (fd < 0)
        return -1;
    n->file = fdopen(fd, "rb");
    if (!n->file) {
        close(fd);
        return fail_memory(path);
    }
    if (read_header(n, size) == 0)
        return 0;
    npy_close(n);
    return -1;
}

void npy_close(struct npy *n)
{
    fclose(n->file);
    n->file = NULL;
}

static double value_of(enum npy_type type, const uint8_t *bytes)
{
    float f32;
    double f64;
    int32_t i32;
    int64_t i64;
    switch (type) {
    case NPY_F32:
        memcpy(&f32, bytes, sizeof f32);
        return (double)f32;
    case NPY_F64:
        memcpy(&f64, bytes, sizeof f64);
        return f64;
    case NPY_I32:
        memcpy(&i32, bytes, sizeof i32);
        return i32;
    case NPY_I64:
        memcpy(&i64, bytes, sizeof i64);
        return (double)i64;
    case NPY_U8:
        break;
    }
    return *bytes;
}

int npy_read(struct npy *n, int64_t count, double *out)
{
    uint8_t block[8 * BLOCK];
    const size_t size = types[n->type].bytes;
    for (int64_t done = 0; done < count;) {
        const int64_t want = count - done < BLOCK ? count - done : BLOCK;
        if (fread(block, size, (size_t)want, n->file) != (size_t)want)
            return fail("%s: truncated", n->path);
        for (int64_t i = 0; i < want; i++)
            out[done++] = value_of(n->type, block + (size_t)i * size);
    }
    return 0;
}
