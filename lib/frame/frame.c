#include "frame/frame.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/fail.h"

enum { ALIGN = 64 };

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

static size_t round_up(size_t n)
{
    return (n + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- making and freeing ---- */

void frame_free(struct frame *f)
{
    if (!f)
        return;
    for (int i = 0; i < f->n_tensors; i++)
        free(f->tensors[i].name);
    for (int i = 0; i < f->n_metas; i++) {
        free(f->metas[i].key);
        free(f->metas[i].value);
    }
    free(f->tensors);
    free(f->metas);
    free(f->memory);
    free(f);
}

/* Bytes of a tensor; -1 if the shape is negative or overflows. */
static int tensor_bytes(enum dtype dtype, int ndim, const int64_t *shape, size_t *out)
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

/* Room for the header that these tensors need, and for some metadata that is set later. */
static size_t header_room(const struct frame *f)
{
    size_t room = 4096;
    for (int i = 0; i < f->n_tensors; i++)
        room += 160 + 2 * strlen(f->tensors[i].name);
    return round_up(room);
}

/* Frames of the same sizes come and go in every step. Left to itself glibc gives such blocks back
 * to the system, which hands out zeroed pages one fault for 4 KiB at a time: that can take longer
 * than computing what is in them. */
static void keep_memory(void)
{
#ifdef M_MMAP_MAX
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

void frame_trim_memory(void)
{
#ifdef M_MMAP_MAX
    malloc_trim(0);
#endif
}

/* A thread's arena gives large blocks back, whatever its thresholds are; the main one does not. */
void frame_share_memory(void)
{
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}

/* Not aligned_alloc(): what it leaves around a block is given to small ones, and then the next
 * frame of this size does not fit where this one was. */
static unsigned char *aligned(size_t size, void **memory)
{
    *memory = malloc(size + ALIGN);
    const uintptr_t at = (uintptr_t)*memory;
    return *memory ? (unsigned char *)*memory + (-at & (ALIGN - 1)) : NULL;
}

/* Allocates the buffer and points the tensors, which lie in their final order, into it. */
static int allocate(struct frame *f)
{
    f->room = header_room(f);
    size_t size;
    if (__builtin_add_overflow(f->room, f->data_size, &size) || size > SIZE_MAX / 2)
        return fail("a frame of %zu bytes does not fit into memory", f->data_size);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, keep_memory);
    f->buffer = aligned(size, &f->memory);
    if (!f->buffer)
        return fail("out of memory for a frame of %zu bytes", size);
    size_t at = f->room;
    for (int i = 0; i < f->n_tensors; i++) {
        f->tensors[i].data = f->buffer + at;
        at += f->tensors[i].bytes;
    }
    return 0;
}

/* Whole multiples of 64 bytes first, so that they all start aligned; then by element size, so that
 * what follows is aligned at least to its element although there are no gaps. */
static int by_alignment(const void *pa, const void *pb)
{
    const struct tensor *a = pa, *b = pb;
    bool whole_a = a->bytes % ALIGN == 0, whole_b = b->bytes % ALIGN == 0;
    if (whole_a != whole_b)
        return whole_a ? -1 : 1;
    size_t size_a = dtypes[a->dtype].size, size_b = dtypes[b->dtype].size;
    if (!whole_a && size_a != size_b)
        return size_a > size_b ? -1 : 1;
    /* qsort is not stable; the order in which tensors were named decides */
    return a->data < b->data ? -1 : a->data > b->data;
}

struct frame *frame_new(const struct tensor_spec *specs, int n)
{
    struct frame *f = frame_new_unset(specs, n);
    if (f)
        memset(f->buffer + f->room, 0, f->data_size);
    return f;
}

struct frame *frame_new_unset(const struct tensor_spec *specs, int n)
{
    struct frame *f = calloc(1, sizeof *f);
    if (!f || !(f->tensors = calloc((size_t)n + 1, sizeof *f->tensors))) {
        fail("out of memory for a frame");
        goto failed;
    }
    for (int i = 0; i < n; i++) {
        const struct tensor_spec *spec = &specs[i];
        struct tensor *t = &f->tensors[i];
        assert(spec->ndim >= 0 && spec->ndim <= FRAME_MAX_DIMS);
        if (!*spec->name || !strcmp(spec->name, "__metadata__")) {
            fail("'%s' can't be a tensor's name", spec->name);
            goto failed;
        }
        for (int j = 0; j < i; j++)
            if (!strcmp(specs[j].name, spec->name)) {
                fail("tensor %s is there twice", spec->name);
                goto failed;
            }
        if (!(t->name = strdup(spec->name))) {
            fail("out of memory for a frame");
            goto failed;
        }
        f->n_tensors++;
        t->dtype = spec->dtype;
        t->ndim = spec->ndim;
        memcpy(t->shape, spec->shape, sizeof t->shape);
        if (tensor_bytes(t->dtype, t->ndim, t->shape, &t->bytes) ||
            __builtin_add_overflow(f->data_size, t->bytes, &f->data_size)) {
            fail("tensor %s: %s", spec->name, "the shape is negative or overflows");
            goto failed;
        }
        t->data = (void *)(uintptr_t)(i + 1); /* for by_alignment */
    }
    qsort(f->tensors, (size_t)n, sizeof *f->tensors, by_alignment);
    if (allocate(f))
        goto failed;
    return f;
failed:
    frame_free(f);
    return NULL;
}

struct tensor_spec tensor_spec_of(const struct tensor *t)
{
    struct tensor_spec spec = {.name = t->name, .dtype = t->dtype, .ndim = t->ndim};
    memcpy(spec.shape, t->shape, sizeof spec.shape);
    return spec;
}

static bool listed(const char *name, const char *const *list)
{
    for (; list && *list; list++)
        if (!strcmp(name, *list))
            return true;
    return false;
}

struct frame *frame_derive(const struct frame *from, const struct tensor_spec *add, int n,
                           const char *const *except)
{
    struct tensor_spec *specs = calloc((size_t)(n + from->n_tensors) + 1, sizeof *specs);
    if (!specs) {
        return fail_null("out of memory for a frame");
    }
    int total = 0;
    for (; total < n; total++)
        specs[total] = add[total];
    for (int i = 0; i < from->n_tensors; i++) {
        bool added = false;
        for (int j = 0; j < n && !added; j++)
            added = !strcmp(add[j].name, from->tensors[i].name);
        if (!added && !listed(from->tensors[i].name, except))
            specs[total++] = tensor_spec_of(&from->tensors[i]);
    }
    struct frame *f = frame_new(specs, total);
    if (f) {
        for (int i = n; i < total; i++) {
            const struct tensor *source = frame_find(from, specs[i].name);
            memcpy(frame_find(f, specs[i].name)->data, source->data, source->bytes);
        }
        frame_inherit_metas(f, from);
    }
    free(specs);
    return f;
}

struct frame *frame_copy(const struct frame *f)
{
    return frame_derive(f, NULL, 0, NULL);
}

struct frame *frame_copy_metas(const struct frame *f)
{
    struct frame *copy = frame_new(NULL, 0);
    if (copy)
        frame_inherit_metas(copy, f);
    return copy;
}

/* ---- looking things up ---- */

struct tensor *frame_find(const struct frame *f, const char *name)
{
    for (int i = 0; i < f->n_tensors; i++)
        if (!strcmp(f->tensors[i].name, name))
            return &f->tensors[i];
    return NULL;
}

/* "F32 [8,2,?]" into text. */
static void describe(char *text, size_t size, enum dtype dtype, int ndim, const int64_t *shape)
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

struct tensor *frame_need(const struct frame *f, const char *name, enum dtype dtype, int ndim,
                          const int64_t *shape)
{
    struct tensor *t = frame_find(f, name);
    if (!t) {
        return fail_null("the frame has no tensor %s", name);
    }
    bool fits = t->dtype == dtype && (ndim < 0 || t->ndim == ndim);
    for (int i = 0; fits && i < ndim; i++)
        fits = shape[i] < 0 || shape[i] == t->shape[i];
    if (fits)
        return t;
    char found[256], wanted[256];
    describe(found, sizeof found, t->dtype, t->ndim, t->shape);
    if (ndim < 0)
        snprintf(wanted, sizeof wanted, "%s", dtypes[dtype].name);
    else
        describe(wanted, sizeof wanted, dtype, ndim, shape);
    return fail_null("tensor %s is %s, not %s", name, found, wanted);
}

const char *frame_meta(const struct frame *f, const char *key)
{
    for (int i = 0; i < f->n_metas; i++)
        if (!strcmp(f->metas[i].key, key))
            return f->metas[i].value;
    return NULL;
}

int frame_meta_int(const struct frame *f, const char *key, int64_t fallback, int64_t *out)
{
    const char *text = frame_meta(f, key);
    *out = fallback;
    if (!text)
        return 0;
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (end == text || *end || errno)
        return fail("metadata %s is '%s', not an integer", key, text);
    *out = value;
    return 0;
}

int frame_meta_double(const struct frame *f, const char *key, double fallback, double *out)
{
    const char *text = frame_meta(f, key);
    *out = fallback;
    if (!text)
        return 0;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end)
        return fail("metadata %s is '%s', not a number", key, text);
    *out = value;
    return 0;
}

static char *must_copy(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

void frame_set_meta(struct frame *f, const char *key, const char *value)
{
    char *copy = must_copy(value);
    json_t *valid = json_string(copy); /* NULL: not UTF-8, which a header must be */
    for (unsigned char *c = (unsigned char *)copy; !valid && *c; c++)
        if (*c >= 0x80)
            *c = '?';
    json_decref(valid);
    for (int i = 0; i < f->n_metas; i++)
        if (!strcmp(f->metas[i].key, key)) {
            free(f->metas[i].value);
            f->metas[i].value = copy;
            return;
        }
    f->metas = realloc(f->metas, ((size_t)f->n_metas + 1) * sizeof *f->metas);
    if (!f->metas)
        abort();
    f->metas[f->n_metas++] = (struct meta){must_copy(key), copy};
}

void frame_set_meta_int(struct frame *f, const char *key, int64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    frame_set_meta(f, key, text);
}

void frame_set_meta_float(struct frame *f, const char *key, float value)
{
    char text[32];
    snprintf(text, sizeof text, "%.9g", (double)value);
    frame_set_meta(f, key, text);
}

void frame_drop_meta(struct frame *f, const char *key)
{
    for (int i = 0; i < f->n_metas; i++)
        if (!strcmp(f->metas[i].key, key)) {
            free(f->metas[i].key);
            free(f->metas[i].value);
            memmove(&f->metas[i], &f->metas[i + 1],
                    (size_t)(f->n_metas - i - 1) * sizeof *f->metas);
            f->n_metas--;
            return;
        }
}

void frame_inherit_metas(struct frame *to, const struct frame *from)
{
    for (int i = 0; i < from->n_metas; i++)
        if (!frame_meta(to, from->metas[i].key))
            frame_set_meta(to, from->metas[i].key, from->metas[i].value);
}

struct frame *frame_new_end(void)
{
    struct frame *f = frame_new(NULL, 0);
    if (f)
        frame_set_meta(f, "end", "1");
    return f;
}

bool frame_is_end(const struct frame *f)
{
    const char *end = frame_meta(f, "end");
    return f->n_tensors == 0 && end && !strcmp(end, "1");
}

struct frame *frame_new_error(const char *message)
{
    struct frame *f = frame_new(NULL, 0);
    if (f)
        frame_set_meta(f, "error", message);
    return f;
}

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
            json_pack("{s:s, s:o, s:[I,I]}", "dtype", dtypes[t->dtype].name, "shape", shape,
                      "data_offsets", (json_int_t)at, (json_int_t)(at + t->bytes));
        at += t->bytes;
        good = json_object_set_new(header, t->name, tensor) == 0 && good;
    }
    char *text = good ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    return text;
}

static int grow_room(struct frame *f, size_t need)
{
    size_t room = round_up(need + 4096);
    void *memory;
    unsigned char *buffer = aligned(room + f->data_size, &memory);
    if (!buffer)
        return fail("out of memory for a frame's header");
    memcpy(buffer + room, f->buffer + f->room, f->data_size);
    for (int i = 0; i < f->n_tensors; i++)
        f->tensors[i].data =
            buffer + room + ((unsigned char *)f->tensors[i].data - (f->buffer + f->room));
    free(f->memory);
    f->memory = memory;
    f->buffer = buffer;
    f->room = room;
    return 0;
}

int frame_seal(struct frame *f, bool crc, const unsigned char **bytes, size_t *size)
{
    frame_drop_meta(f, "crc32");
    if (crc) {
        char digits[16];
        snprintf(digits, sizeof digits, "%08lx", crc32_z(0, f->buffer + f->room, f->data_size));
        frame_set_meta(f, "crc32", digits);
    }
    char *json = header_json(f);
    if (!json)
        return fail("a frame's header can't be written: out of memory, or a name is not UTF-8");
    size_t length = strlen(json), whole = round_up(8 + length);
    if (whole - 8 > FRAME_MAX_HEADER) {
        free(json);
        return fail("a frame's header of %zu bytes is longer than %d", length, FRAME_MAX_HEADER);
    }
    if (whole > f->room && grow_room(f, whole)) {
        free(json);
        return -1;
    }
    unsigned char *start = f->buffer + f->room - whole;
    uint64_t n = whole - 8;
    for (int i = 0; i < 8; i++)
        start[i] = (unsigned char)(n >> (8 * i));
    memset(start + 8, ' ', whole - 8);
    memcpy(start + 8, json, length);
    free(json);
    *bytes = start;
    *size = whole + f->data_size;
    return 0;
}

/* ---- reading ---- */

struct span { /* a tensor's place while the header is read */
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
    while (d < DTYPE_COUNT && strcmp(dtype, dtypes[d].name))
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
        /* not frame_set_meta: duplicate keys are already excluded */
        f->metas[f->n_metas++] = (struct meta){must_copy(key), must_copy(json_string_value(value))};
    }
    return 0;
}

/* The tensors in the order of their bytes, without gaps or overlaps. */
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

/* All that the header says; no buffer yet. */
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

/* Allocates the buffer of a frame whose header was read; f is freed if that fails. */
static struct frame *with_buffer(struct frame *f, const char *where)
{
    if (!allocate(f))
        return f;
    char reason[256];
    snprintf(reason, sizeof reason, "%s", fail_message());
    fail("%s: %s", where, reason);
    frame_free(f);
    return NULL;
}

struct frame *frame_from_header(const char *json, size_t length, size_t limit, const char *where,
                                unsigned char **data)
{
    struct frame *f = parse_header(json, length, where);
    if (f && (f->data_size > limit || length > limit - f->data_size)) {
        fail("%s: a frame of %zu bytes is over the limit of %zu (--max-frame)", where,
             f->data_size + length, limit);
        frame_free(f);
        return NULL;
    }
    if (f && (f = with_buffer(f, where)))
        *data = f->buffer + f->room;
    return f;
}

struct frame *frame_finish(struct frame *f, const char *where)
{
    const char *digits = frame_meta(f, "crc32");
    if (digits) {
        char *end;
        unsigned long want = strtoul(digits, &end, 16),
                      have = crc32_z(0, f->buffer + f->room, f->data_size);
        if (strlen(digits) != 8 || *end || want != have) {
            fail("%s: the data's CRC-32 is %08lx, the header says %s", where, have, digits);
            frame_free(f);
            return NULL;
        }
    }
    bool aligned = true;
    for (int i = 0; i < f->n_tensors; i++)
        aligned = aligned && (uintptr_t)f->tensors[i].data % dtypes[f->tensors[i].dtype].size == 0;
    if (aligned)
        return f;
    struct frame *copy = frame_copy(f);
    frame_free(f);
    return copy;
}

struct frame *frame_parse(const void *bytes, size_t size, const char *where)
{
    const unsigned char *b = bytes;
    if (size < 8) {
        return fail_null("%s: truncated: %zu bytes, where a frame has at least 8", where, size);
    }
    uint64_t length = 0;
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)b[i] << (8 * i);
    if (length > FRAME_MAX_HEADER) {
        return fail_null("%s: a header of %" PRIu64 " bytes is longer than %d", where, length,
                         FRAME_MAX_HEADER);
    }
    if (length > size - 8) {
        return fail_null("%s: truncated at byte %zu, in the header", where, size);
    }
    struct frame *f = parse_header((const char *)b + 8, (size_t)length, where);
    if (!f)
        return NULL;
    size_t rest = size - 8 - (size_t)length;
    if (rest != f->data_size) { /* before anything of that size is allocated */
        fail("%s: %s: %zu bytes of data, where the header says %zu", where,
             rest < f->data_size ? "truncated" : "trailing bytes", rest, f->data_size);
        frame_free(f);
        return NULL;
    }
    if (!(f = with_buffer(f, where)))
        return NULL;
    if (rest)
        memcpy(f->buffer + f->room, b + 8 + length, rest);
    return frame_finish(f, where);
}
