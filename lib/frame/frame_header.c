#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/fail.h"
#include "frame/frame_parts.h"

/* ---- writing the header ---- */

static char *header_json(const struct frame *f)
{
    json_t *header = json_object();
    bool good = true;
    if (f->n_metas) {
        json_t *metadata = json_object();
        for (int i = 0; i < f->n_metas; i++) {
            json_t *value = json_string(f->metas[i].value);
            good = json_object_set_new(metadata, f->metas[i].key, value) == 0 && good;
        }
        json_object_set_new(header, "__metadata__", metadata);
    }
    size_t at = 0;
    for (int i = 0; i < f->n_tensors; i++) {
        const struct tensor *t = &f->tensors[i];
        json_t *shape = json_array();
        for (int j = 0; j < t->ndim; j++)
            json_array_append_new(shape, json_integer(t->shape[j]));
        json_t *tensor =
            json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtype_name(t->dtype), "shape", shape,
                      "data_offsets", (json_int_t)at, (json_int_t)(at + t->bytes));
        at += t->bytes;
        good = json_object_set_new(header, t->name, tensor) == 0 && good;
    }
    char *text = good ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    return text;
}

/* Writes the header into the end of the room before the data. Its first 8 bytes are its length and
 * `mark`. Sets *start to its first byte and *size to its size, with these 8 bytes. */
static int write_header(struct frame *f, bool crc, uint64_t mark, unsigned char **start,
                        size_t *size)
{
    frame_drop_meta(f, "crc32");
    if (crc) {
        char digits[16];
        snprintf(digits, sizeof digits, "%08lx", crc32_z(0, f->data, f->data_size));
        frame_set_meta(f, "crc32", digits);
    }
    char *json = header_json(f);
    if (!json)
        return fail("a frame's header can't be written: out of memory, or a name is not UTF-8");
    size_t length = strlen(json), whole = frame_round_up(8 + length);
    if (whole - 8 > FRAME_MAX_HEADER) {
        free(json);
        return fail("a frame's header of %zu bytes is longer than %d", length, FRAME_MAX_HEADER);
    }
    if (whole > f->room && frame_grow_room(f, whole)) {
        free(json);
        return -1;
    }
    *start = f->buffer + f->room - whole;
    *size = whole;
    uint64_t n = (whole - 8) | mark;
    for (int i = 0; i < 8; i++)
        (*start)[i] = (unsigned char)(n >> (8 * i));
    memset(*start + 8, ' ', whole - 8);
    memcpy(*start + 8, json, length);
    free(json);
    return 0;
}

int frame_seal(struct frame *f, bool crc, const unsigned char **bytes, size_t *size)
{
    unsigned char *start;
    if ((f->shared && frame_come_home(f)) || write_header(f, crc, 0, &start, size))
        return -1;
    *bytes = start;
    *size += f->data_size;
    return 0;
}

static const uint64_t shared_mark = (uint64_t)1 << 63;

int frame_seal_header(struct frame *f, bool crc, const unsigned char **bytes, size_t *size)
{
    unsigned char *start;
    frame_write_integers(f);
    if (write_header(f, crc, shared_mark | (uint64_t)f->shared->number << 32, &start, size))
        return -1;
    *bytes = start;
    return 0;
}

bool frame_is_shared(uint64_t *length, uint32_t *number)
{
    if (!(*length & shared_mark))
        return false;
    *number = (uint32_t)(*length >> 32) & 0x7fffffff;
    *length &= 0xffffffff;
    return true;
}

/* ---- reading ---- */

struct span { /* a tensor and its place while the header is read */
    size_t begin, end;
    struct tensor tensor;
};

static int by_begin(const void *pa, const void *pb)
{
    const struct span *a = pa, *b = pb;
    if (a->begin != b->begin)
        return a->begin < b->begin ? -1 : 1;
    return a->end < b->end ? -1 : a->end > b->end;
}

static int read_tensor(const char *name, const json_t *entry, struct span *span, const char *where)
{
    struct tensor *t = &span->tensor;
    const char *key, *dtype = json_string_value(json_object_get(entry, "dtype"));
    const json_t *shape = json_object_get(entry, "shape"),
                 *offsets = json_object_get(entry, "data_offsets");
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)entry, key, value)
    {
        if (strcmp(key, "dtype") && strcmp(key, "shape") && strcmp(key, "data_offsets"))
            return fail("%s: tensor %s has an unknown entry '%s'", where, name, key);
    }
    if (!dtype || !json_is_array(shape) || !json_is_array(offsets) || json_array_size(offsets) != 2)
        return fail("%s: tensor %s lacks a dtype, a shape or two data_offsets", where, name);
    int d = 0;
    while (d < DTYPE_COUNT && strcmp(dtype, dtype_name((enum dtype)d)))
        d++;
    if (d == DTYPE_COUNT)
        return fail("%s: tensor %s has the unknown dtype '%s'", where, name, dtype);
    t->dtype = (enum dtype)d;
    if (json_array_size(shape) > FRAME_MAX_DIMS)
        return fail("%s: tensor %s has more than %d dimensions", where, name, FRAME_MAX_DIMS);
    t->ndim = (int)json_array_size(shape);
    for (int i = 0; i < t->ndim; i++) {
        const json_t *dimension = json_array_get(shape, (size_t)i);
        if (!json_is_integer(dimension))
            return fail("%s: tensor %s has a dimension that is no integer", where, name);
        t->shape[i] = json_integer_value(dimension);
    }
    if (tensor_bytes(t->dtype, t->ndim, t->shape, &t->bytes))
        return fail_prefix("%s: tensor %s", where, name);
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (!json_is_integer(begin) || !json_is_integer(end) || json_integer_value(begin) < 0 ||
        json_integer_value(end) < json_integer_value(begin))
        return fail("%s: tensor %s has impossible data_offsets", where, name);
    span->begin = (size_t)json_integer_value(begin);
    span->end = (size_t)json_integer_value(end);
    if (span->end - span->begin != t->bytes)
        return fail("%s: tensor %s spans %zu bytes where its shape and dtype make %zu", where, name,
                    span->end - span->begin, t->bytes);
    if (!(t->name = strdup(name)))
        return fail("%s: out of memory for a frame", where);
    return 0;
}

static int read_metadata(struct frame *f, json_t *metadata, const char *where)
{
    if (!json_is_object(metadata))
        return fail("%s: __metadata__ is not an object", where);
    const char *key;
    json_t *value;
    if (json_object_size(metadata) > FRAME_MAX_ENTRIES)
        return fail("%s: metadata of more than %d keys", where, FRAME_MAX_ENTRIES);
    if (!(f->metas = calloc(json_object_size(metadata) + 1, sizeof *f->metas)))
        return fail("%s: out of memory for a frame", where);
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return fail("%s: metadata %s is not a string", where, key);
        /* frame_set_meta() would search for the key, but a parsed key occurs only once */
        const struct meta meta = {strdup(key), strdup(json_string_value(value))};
        f->metas[f->n_metas++] = meta;
        if (!meta.key || !meta.value)
            return fail("%s: out of memory for a frame", where);
    }
    return 0;
}

/* Puts the tensors into the order of their bytes. Returns -1 with a message if there are gaps or
 * overlaps. */
static int place_tensors(struct frame *f, struct span *spans, const char *where)
{
    qsort(spans, (size_t)f->n_tensors, sizeof *spans, by_begin);
    for (int i = 0; i < f->n_tensors; i++)
        f->tensors[i] = spans[i].tensor;
    for (int i = 0; i < f->n_tensors; i++) {
        if (spans[i].begin != f->data_size)
            return fail("%s: %s at byte %zu of the data, where tensor %s should start at byte %zu",
                        where, spans[i].begin > f->data_size ? "gap" : "overlap",
                        spans[i].begin > f->data_size ? f->data_size : spans[i].begin,
                        spans[i].tensor.name, f->data_size);
        f->data_size = spans[i].end;
    }
    return 0;
}

/* Makes a frame from the header alone, without a buffer. */
static struct frame *parse_header(const char *json, size_t length, const char *where)
{
    struct frame *f = NULL;
    struct span *spans = NULL;
    json_error_t error;
    json_t *header = NULL;
    if (length == 0 || json[0] != '{') {
        fail("%s: the header at byte 8 does not start with '{'", where);
        goto failed;
    }
    header = json_loadb(json, length, JSON_REJECT_DUPLICATES, &error);
    if (!header) {
        fail("%s: bad header at byte %d: %s", where, 8 + error.position, error.text);
        goto failed;
    }
    size_t n = json_object_size(header);
    if (n > FRAME_MAX_ENTRIES) {
        fail("%s: a frame of %zu tensors is over the limit of %d", where, n, FRAME_MAX_ENTRIES);
        goto failed;
    }
    if (!(f = calloc(1, sizeof *f)) || !(f->tensors = calloc(n + 1, sizeof *f->tensors)) ||
        !(spans = calloc(n + 1, sizeof *spans))) {
        fail("%s: out of memory for a frame", where);
        goto failed;
    }
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry)
    {
        if (!strcmp(name, "__metadata__")) {
            if (read_metadata(f, entry, where))
                goto failed;
            continue;
        }
        if (!*name || !json_is_object(entry)) {
            fail("%s: '%s' is no tensor's entry", where, name);
            goto failed;
        }
        if (read_tensor(name, entry, &spans[f->n_tensors], where))
            goto failed;
        /* names belong to the frame from here on, so that frame_free() finds them */
        f->tensors[f->n_tensors].name = spans[f->n_tensors].tensor.name;
        f->n_tensors++;
    }
    if (place_tensors(f, spans, where))
        goto failed;
    json_decref(header);
    free(spans);
    return f;
failed:
    json_decref(header);
    free(spans);
    frame_free(f);
    return NULL;
}

/* Allocates the buffer of a frame whose header was read. Returns f, or frees it and returns NULL.
 */
static struct frame *with_buffer(struct frame *f, const char *where)
{
    if (!frame_allocate(f))
        return f;
    fail_prefix("%s", where);
    frame_free(f);
    return NULL;
}

static int check_limit(const struct frame *f, size_t length, size_t limit, const char *where)
{
    if (f->data_size <= limit && length <= limit - f->data_size)
        return 0;
    return fail("%s: a frame of %zu bytes is over the limit of %zu (--max-frame)", where,
                f->data_size + length, limit);
}

struct frame *frame_from_header(const char *json, size_t length, size_t limit, const char *where,
                                unsigned char **data)
{
    struct frame *f = parse_header(json, length, where);
    if (f && check_limit(f, length, limit, where)) {
        frame_free(f);
        return NULL;
    }
    if (f && (f = with_buffer(f, where)))
        *data = f->data;
    return f;
}

struct frame *frame_from_shared(const char *json, size_t length, size_t limit, const char *where,
                                const struct frame_finder *finder, uint32_t number)
{
    struct frame *f = parse_header(json, length, where);
    if (!f || check_limit(f, length, limit, where)) {
        frame_free(f);
        return NULL;
    }
    if (!(f->shared = finder->find(finder->user, number, f->data_size))) {
        fail_prefix("%s", where);
        frame_free(f);
        return NULL;
    }
    if (!(f = with_buffer(f, where)))
        return NULL;
    if (frame_copy_integers(f)) {
        frame_free(f);
        return NULL;
    }
    return frame_finish(f, where);
}

struct frame *frame_finish(struct frame *f, const char *where)
{
    const char *digits = frame_meta(f, "crc32");
    if (digits) {
        char *end;
        unsigned long want = strtoul(digits, &end, 16), have = crc32_z(0, f->data, f->data_size);
        if (strlen(digits) != 8 || *end || want != have) {
            fail("%s: the data's CRC-32 is %08lx, the header says %s", where, have, digits);
            frame_free(f);
            return NULL;
        }
    }
    bool aligned = true;
    for (int i = 0; i < f->n_tensors; i++)
        aligned = aligned && (uintptr_t)f->tensors[i].data % dtype_size(f->tensors[i].dtype) == 0;
    if (aligned)
        return f;
    struct frame *copy = frame_copy(f);
    frame_free(f);
    return copy;
}

struct frame *frame_parse(const void *bytes, size_t size, const char *where)
{
    return frame_parse_shared(bytes, size, where, NULL);
}

struct frame *frame_parse_shared(const void *bytes, size_t size, const char *where,
                                 const struct frame_finder *finder)
{
    uint32_t number;
    const unsigned char *b = bytes;
    if (size < 8)
        return fail_null("%s: truncated: %zu bytes, where a frame has at least 8", where, size);
    uint64_t length = 0;
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)b[i] << (8 * i);
    const bool shared = finder && frame_is_shared(&length, &number);
    if (length > FRAME_MAX_HEADER)
        return fail_null("%s: a header of %" PRIu64 " bytes is longer than %d", where, length,
                         FRAME_MAX_HEADER);
    if (length > size - 8)
        return fail_null("%s: truncated at byte %zu, in the header", where, size);
    if (shared && length < size - 8)
        return fail_null("%s: trailing bytes after the header", where);
    if (shared)
        return frame_from_shared((const char *)b + 8, (size_t)length, SIZE_MAX, where, finder,
                                 number);
    struct frame *f = parse_header((const char *)b + 8, (size_t)length, where);
    if (!f)
        return NULL;
    size_t rest = size - 8 - (size_t)length;
    if (rest != f->data_size) { /* checked before anything of that size is allocated */
        fail("%s: %s: %zu bytes of data, where the header says %zu", where,
             rest < f->data_size ? "truncated" : "trailing bytes", rest, f->data_size);
        frame_free(f);
        return NULL;
    }
    if (!(f = with_buffer(f, where)))
        return NULL;
    if (rest)
        memcpy(f->data, b + 8 + length, rest);
    return frame_finish(f, where);
}
