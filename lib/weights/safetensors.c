#include "weights/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fail.h"
#include "base/half.h"
#include "base/stop.h"
#include "frame/foreign.h"

enum { CHUNK = 1 << 20, LENGTH = 8, NAME_MAX_BYTES = 2048 };

/* The dtypes of the format, and what they become. */
static const struct dtype_row {
    const char *name;
    size_t size; /* 0: can't be read */
    bool is_float;
} dtypes[] = {{"F32", 4, true},  {"F16", 2, true},  {"BF16", 2, true}, {"F64", 8, true},
              {"I64", 8, false}, {"I32", 4, false}, {"U32", 4, false}, {"I16", 2, false},
              {"U16", 2, false}, {"I8", 1, false},  {"U8", 1, false},  {"BOOL", 1, false}};
enum { DTYPES = sizeof dtypes / sizeof *dtypes };

struct entry {
    const char *name;              /* the header's */
    const struct dtype_row *dtype; /* NULL if it can't be read */
    const char *dtype_name;
    int ndim;
    int64_t shape[FRAME_MAX_DIMS];
    uint64_t begin, end;
    void *data; /* where it goes, or NULL */
};

struct safetensors {
    char *path;
    int fd;
    json_t *header;
    struct entry *entries;
    int n;
    bool checks; /* the CRC-32 is compared */
    uLong crc;
};

/* ---- bytes ---- */

/* Reads exactly `size` bytes. Returns how many there were, or -1 with a message. */
static ssize_t read_bytes(const struct safetensors *s, void *to, size_t size)
{
    size_t have = 0;
    while (have < size) {
        const ssize_t n = read(s->fd, (char *)to + have, size - have);
        if (n < 0 && errno == EINTR && !stop_check())
            continue;
        if (n < 0)
            return errno == EINTR ? -1 : fail("%s: %s", s->path, strerror(errno));
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

/* ---- the header ---- */

static int read_shape(const struct safetensors *s, struct entry *e, const json_t *shape)
{
    uint64_t bytes = e->dtype ? e->dtype->size : 1;
    if (json_array_size(shape) > FRAME_MAX_DIMS) {
        e->dtype = NULL;
        return 0;
    }
    e->ndim = (int)json_array_size(shape);
    for (int i = 0; i < e->ndim; i++) {
        const json_t *side = json_array_get(shape, (size_t)i);
        e->shape[i] = json_integer_value(side);
        if (!json_is_integer(side) || e->shape[i] < 0 ||
            __builtin_mul_overflow(bytes, (uint64_t)e->shape[i], &bytes))
            return fail("%s: the shape of tensor %s is impossible", s->path, e->name);
    }
    if (e->dtype && e->end - e->begin != bytes)
        return fail("%s: tensor %s spans %" PRIu64 " bytes where its shape and dtype make %" PRIu64,
                    s->path, e->name, e->end - e->begin, bytes);
    return 0;
}

static int read_entry(const struct safetensors *s, const char *name, const json_t *value,
                      struct entry *e)
{
    const json_t *shape = json_object_get(value, "shape"),
                 *offsets = json_object_get(value, "data_offsets");
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    *e = (struct entry){.name = name,
                        .dtype_name = json_string_value(json_object_get(value, "dtype"))};
    if (!*name || strlen(name) > NAME_MAX_BYTES)
        return fail("%s: '%.40s' is no name of a tensor", s->path, name);
    if (!e->dtype_name || !json_is_array(shape) || json_array_size(offsets) != 2 ||
        !json_is_integer(begin) || !json_is_integer(end))
        return fail("%s: tensor %s lacks a dtype, a shape or two data_offsets", s->path, name);
    if (json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
        return fail("%s: tensor %s has impossible data_offsets", s->path, name);
    e->begin = (uint64_t)json_integer_value(begin);
    e->end = (uint64_t)json_integer_value(end);
    for (int d = 0; d < DTYPES; d++)
        if (strcmp(e->dtype_name, dtypes[d].name) == 0)
            e->dtype = &dtypes[d];
    return read_shape(s, e, shape);
}

static int by_begin(const void *pa, const void *pb)
{
    const struct entry *a = pa, *b = pb;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

static int read_entries(struct safetensors *s)
{
    const size_t n = json_object_size(s->header);
    const char *name;
    json_t *value;
    if (n > FRAME_MAX_ENTRIES)
        return fail("%s: %zu tensors are over the limit of %d", s->path, n, FRAME_MAX_ENTRIES);
    if (!(s->entries = calloc(n + 1, sizeof *s->entries)))
        return fail_memory(s->path);
    json_object_foreach(s->header, name, value)
    {
        if (strcmp(name, "__metadata__") != 0 && read_entry(s, name, value, &s->entries[s->n++]))
            return -1;
    }
    qsort(s->entries, (size_t)s->n, sizeof *s->entries, by_begin);
    uint64_t at = 0;
    for (int i = 0; i < s->n; at = s->entries[i++].end)
        if (s->entries[i].begin != at)
            return fail("%s: %s at byte %" PRIu64 " of the data, before tensor %s", s->path,
                        s->entries[i].begin > at ? "gap" : "overlap", at, s->entries[i].name);
    return 0;
}

/* Says which known format the file has instead, or else what the message says. */
static int fail_foreign(const struct safetensors *s, const unsigned char first[LENGTH])
{
    const char *kind = foreign_kind(first);
    return kind ? fail("%s: not a frame but %s", s->path, kind) : -1;
}

/* Reads the header's JSON. */
static int read_header(struct safetensors *s, const struct stat *status)
{
    unsigned char first[LENGTH];
    const ssize_t have = read_bytes(s, first, sizeof first);
    if (have < 0)
        return -1;
    if (have == 0)
        return fail("%s: empty, where a frame was expected", s->path);
    if (have < LENGTH)
        return fail("%s: truncated in the header's length, at byte %zd of 8", s->path, have);
    uint64_t length = 0;
    for (int i = 0; i < LENGTH; i++)
        length |= (uint64_t)first[i] << (8 * i);
    if (length < 2 || length > FRAME_MAX_HEADER) {
        fail("%s: not a frame: a header of %" PRIu64 " bytes", s->path, length);
        return fail_foreign(s, first);
    }
    if (S_ISREG(status->st_mode) && length > (uint64_t)status->st_size - LENGTH) {
        fail("%s: truncated in the header, at byte %" PRIu64 " of %" PRIu64, s->path,
             (uint64_t)status->st_size - LENGTH, length);
        return fail_foreign(s, first);
    }
    char *text = malloc((size_t)length);
    json_error_t error;
    if (!text)
        return fail_memory(s->path);
    const ssize_t got = read_bytes(s, text, (size_t)length);
    if (got == (ssize_t)length && *text == '{')
        s->header = json_loadb(text, (size_t)length, JSON_REJECT_DUPLICATES, &error);
    else
        snprintf(error.text, sizeof error.text, "no JSON object");
    free(text);
    if (got < 0)
        return -1;
    if (got < (ssize_t)length)
        return fail("%s: truncated in the header, at byte %zd of %" PRIu64, s->path, got, length);
    if (!s->header) {
        fail("%s: bad header: %s", s->path, error.text);
        return fail_foreign(s, first);
    }
    return 0;
}

static int check_size(const struct safetensors *s, const struct stat *status)
{
    const uint64_t data = s->n ? s->entries[s->n - 1].end : 0;
    const off_t at = S_ISREG(status->st_mode) ? lseek(s->fd, 0, SEEK_CUR) : -1;
    if (at < 0)
        return data > FRAME_DEFAULT_LIMIT
                   ? fail("%s: %" PRIu64 " bytes are too many for a pipe", s->path, data)
                   : 0;
    const uint64_t rest = (uint64_t)status->st_size - (uint64_t)at;
    if (rest < data)
        return fail("%s: truncated in the data, at byte %" PRIu64 " of %" PRIu64, s->path, rest,
                    data);
    return rest > data ? fail("%s: trailing bytes after the frame", s->path) : 0;
}

struct safetensors *safetensors_open(const char *path)
{
    struct stat status = {0};
    struct safetensors *s = calloc(1, sizeof *s);
    if (!s || !(s->path = strdup(path))) {
        free(s);
        fail_memory(path);
        return NULL;
    }
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0 || fstat(s->fd, &status))
        fail("%s: %s", path, strerror(errno));
    else if (!read_header(s, &status) && !read_entries(s) && !check_size(s, &status))
        return s;
    safetensors_close(s);
    return NULL;
}

void safetensors_close(struct safetensors *s)
{
    if (!s)
        return;
    if (s->fd >= 0)
        close(s->fd);
    json_decref(s->header);
    free(s->entries);
    free(s->path);
    free(s);
}

int safetensors_count(const struct safetensors *s)
{
    return s->n;
}

const char *safetensors_name(const struct safetensors *s, int i)
{
    return s->entries[i].name;
}

/* ---- the tensors ---- */

static int64_t integer_at(const struct dtype_row *dtype, const unsigned char *from)
{
    uint64_t value = 0;
    for (size_t i = 0; i < dtype->size; i++)
        value |= (uint64_t)from[i] << (8 * i);
    const int bits = (int)(8 * dtype->size);
    if (*dtype->name == 'I' && bits < 64 && value >> (bits - 1))
        value |= ~(uint64_t)0 << bits;
    return (int64_t)value;
}

/* Converts n values to float or int64. Returns -1 with a message if one is out of range. */
static int convert(const struct safetensors *s, const struct entry *e, const unsigned char *from,
                   void *to, size_t n)
{
    float *floats = to;
    if (!e->dtype->is_float) {
        for (size_t i = 0; i < n; i++)
            ((int64_t *)to)[i] = integer_at(e->dtype, from + i * e->dtype->size);
    } else if (e->dtype->size == 4) {
        memcpy(to, from, n * 4);
    } else if (e->dtype->size == 8) {
        for (size_t i = 0; i < n; i++) {
            double value;
            memcpy(&value, from + 8 * i, sizeof value);
            floats[i] = (float)value;
            if (isfinite(value) && !isfinite(floats[i]))
                return fail("%s: tensor %s has a value that no float32 holds", s->path, e->name);
        }
    } else if (*e->dtype->name == 'B') {
        half_widen_bf16((const uint16_t *)(const void *)from, floats, n);
    } else {
        half_widen_f16((const uint16_t *)(const void *)from, floats, n);
    }
    return 0;
}

/* Reads a tensor in parts through the chunk, and converts it to its place if it has one. */
static int read_tensor(struct safetensors *s, const struct entry *e, unsigned char *chunk)
{
    const uint64_t size = e->end - e->begin;
    unsigned char *to = e->data;
    if (!to && !s->checks && size && lseek(s->fd, (off_t)size, SEEK_CUR) >= 0)
        return 0;
    for (uint64_t at = 0; at < size;) {
        const size_t part = size - at < CHUNK ? (size_t)(size - at) : CHUNK;
        const ssize_t got = read_bytes(s, chunk, part);
        if (got < 0)
            return -1;
        if ((size_t)got < part)
            return fail("%s: truncated in the data of tensor %s", s->path, e->name);
        if (s->checks)
            s->crc = crc32_z(s->crc, chunk, part);
        if (to) {
            const size_t n = part / e->dtype->size;
            if (convert(s, e, chunk, to, n))
                return -1;
            to += n * (e->dtype->is_float ? sizeof(float) : sizeof(int64_t));
        }
        at += part;
    }
    return 0;
}

/* Makes the frame for the wanted tensors, and finds their places in it. */
static struct frame *make_frame(struct safetensors *s,
                                bool (*wanted)(const char *name, void *context), void *context)
{
    struct tensor_spec *specs = calloc((size_t)s->n + 1, sizeof *specs);
    struct entry **taken = calloc((size_t)s->n + 1, sizeof *taken);
    struct frame *f = NULL;
    int n = 0, bad = 0;
    if (!specs || !taken)
        bad = fail_memory(s->path);
    for (int i = 0; i < s->n && !bad; i++) {
        struct entry *e = &s->entries[i];
        if (!wanted(e->name, context))
            continue;
        if (!e->dtype)
            bad = fail("%s: tensor %s is %.20s, or of more than %d dimensions, and can't be read",
                       s->path, e->name, e->dtype_name, FRAME_MAX_DIMS);
        specs[n] = (struct tensor_spec){e->name, DTYPE_I64, e->ndim, {0}};
        if (e->dtype && e->dtype->is_float)
            specs[n].dtype = DTYPE_F32;
        memcpy(specs[n].shape, e->shape, sizeof e->shape);
        taken[n++] = e;
    }
    if (!bad && (f = frame_new_unset(specs, n)))
        for (int i = 0; i < n; i++)
            taken[i]->data = frame_find(f, taken[i]->name)->data;
    if (!bad && !f)
        fail_prefix("%s", s->path);
    free(specs);
    free(taken);
    return f;
}

/* Copies the metadata. Returns -1 with a message if they are no strings. */
static int copy_metadata(const struct safetensors *s, struct frame *f)
{
    json_t *metadata = json_object_get(s->header, "__metadata__"), *value;
    const char *key;
    if (metadata && !json_is_object(metadata))
        return fail("%s: __metadata__ is not an object", s->path);
    if (json_object_size(metadata) > FRAME_MAX_ENTRIES)
        return fail("%s: metadata of more than %d keys", s->path, FRAME_MAX_ENTRIES);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return fail("%s: metadata %s is not a string", s->path, key);
        frame_set_meta(f, key, json_string_value(value));
    }
    return 0;
}

/* Reads all tensors, and compares the CRC-32. */
static int read_data(struct safetensors *s, const struct frame *f)
{
    const char *digits = frame_meta(f, "crc32");
    unsigned char *chunk = malloc(CHUNK), more;
    s->checks = digits != NULL;
    s->crc = crc32_z(0, NULL, 0);
    if (!chunk)
        return fail_memory(s->path);
    int bad = 0;
    for (int i = 0; i < s->n && !bad; i++)
        bad = read_tensor(s, &s->entries[i], chunk);
    free(chunk);
    if (bad)
        return -1;
    char *end = NULL;
    if (digits && (strlen(digits) != 8 || strtoul(digits, &end, 16) != s->crc || *end))
        return fail("%s: the data's CRC-32 is %08lx, the header says %.20s", s->path, s->crc,
                    digits);
    const ssize_t rest = read_bytes(s, &more, 1);
    return rest > 0 ? fail("%s: trailing bytes after the frame", s->path) : (int)rest;
}

struct frame *safetensors_read(struct safetensors *s,
                               bool (*wanted)(const char *name, void *context), void *context)
{
    struct frame *f = make_frame(s, wanted, context);
    if (f && (copy_metadata(s, f) || read_data(s, f))) {
        frame_free(f);
        return NULL;
    }
    if (f)
        frame_drop_meta(f, "crc32");
    return f;
}
