/* Tests frames: literal bytes, round trips, alignment, and what a reader must refuse. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frame/frame.h"
#include "frame/frame_io.h"

/* Parses a frame from a header and n bytes of data, in memory of exactly that size, so that
 * AddressSanitizer notices every byte read beyond it. */
static struct frame *parse_bytes(const void *bytes, size_t size)
{
    void *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, bytes, size);
    struct frame *f = frame_parse(exact, size, "it");
    free(exact);
    return f;
}

/* Reads the same bytes from a file with a reader. */
static struct frame *read_bytes(const void *bytes, size_t size, size_t limit)
{
    char path[] = "/tmp/test_frame.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, bytes, size), size);
    lseek(fd, 0, SEEK_SET);
    struct frame_reader *r = frame_reader_new(limit, "it");
    struct frame *f = NULL;
    enum frame_reader_state state;
    while ((state = frame_reader_step(r, fd, &f)) == FRAME_READER_MORE)
        ;
    if (state != FRAME_READER_FRAME)
        f = NULL;
    if (state == FRAME_READER_EOF)
        assert_int_equal(size, 0);
    frame_reader_free(r);
    close(fd);
    return f;
}

static size_t make(unsigned char *out, const char *json, size_t data)
{
    size_t n = strlen(json);
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)((uint64_t)n >> (8 * i));
    memcpy(out + 8, json, n);
    memset(out + 8 + n, 0, data);
    return 8 + n + data;
}

static void test_literal_bytes(void **state)
{
    (void)state;
    /* A frame with "y" [2] of U8 7, 8 and one key of metadata, in 128 bytes of header and 2 of
     * data. */
    static const char header[] = "{\"__metadata__\":{\"step\":\"3\"},"
                                 "\"y\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}";
    struct frame *f = frame_new(&(struct tensor_spec){"y", DTYPE_U8, 1, {2}}, 1);
    memcpy(frame_find(f, "y")->data, "\7\10", 2);
    frame_set_meta_int(f, "step", 3);
    const unsigned char *bytes;
    size_t size;
    assert_int_equal(frame_seal(f, false, &bytes, &size), 0);
    unsigned char expect[130] = {120};
    memset(expect + 8, ' ', 120);
    memcpy(expect + 8, header, sizeof header - 1);
    memcpy(expect + 128, "\7\10", 2);
    assert_int_equal(size, sizeof expect);
    assert_memory_equal(bytes, expect, sizeof expect);
    frame_free(f);

    f = frame_new_end();
    static const char end[] = "{\"__metadata__\":{\"end\":\"1\"}}";
    assert_int_equal(frame_seal(f, false, &bytes, &size), 0);
    assert_int_equal(size, 64);
    assert_int_equal(bytes[0], 56);
    assert_memory_equal(bytes + 8, end, sizeof end - 1);
    frame_free(f);
}

static struct frame *sample(void)
{
    const struct tensor_spec specs[] = {
        {"odd", DTYPE_U8, 1, {3}},    {"half", DTYPE_F16, 2, {3, 1}}, {"brain", DTYPE_BF16, 1, {5}},
        {"long", DTYPE_I64, 1, {3}},  {"int", DTYPE_I32, 1, {1}},     {"scalar", DTYPE_F32, 0, {0}},
        {"x", DTYPE_F32, 2, {16, 2}}, {"none", DTYPE_F32, 2, {0, 7}}, {"big", DTYPE_U8, 1, {128}}};
    struct frame *f = frame_new(specs, sizeof specs / sizeof *specs);
    assert_non_null(f);
    for (int i = 0; i < f->n_tensors; i++)
        for (size_t j = 0; j < f->tensors[i].bytes; j++)
            ((unsigned char *)f->tensors[i].data)[j] = (unsigned char)(17 * i + 3 * (int)j + 1);
    frame_set_meta(f, "text", "line\nquote\" \xc3\xa4 tab\t");
    frame_set_meta_float(f, "loss", 0.1f);
    return f;
}

static void assert_same(const struct frame *a, const struct frame *b)
{
    assert_int_equal(a->n_tensors, b->n_tensors);
    assert_int_equal(a->n_metas, b->n_metas);
    for (int i = 0; i < a->n_tensors; i++) {
        const struct tensor *s = &a->tensors[i], *t = frame_find(b, s->name);
        assert_non_null(t);
        assert_int_equal(s->dtype, t->dtype);
        assert_int_equal(s->ndim, t->ndim);
        assert_memory_equal(s->shape, t->shape, (size_t)s->ndim * sizeof *s->shape);
        assert_int_equal(s->bytes, t->bytes);
        assert_memory_equal(s->data, t->data, s->bytes);
    }
    for (int i = 0; i < a->n_metas; i++) {
        const char *value = frame_meta(b, a->metas[i].key);
        assert_non_null(value);
        assert_string_equal(a->metas[i].value, value);
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    struct frame *f = sample();
    for (int crc = 0; crc < 2; crc++) {
        const unsigned char *bytes;
        size_t size;
        assert_int_equal(frame_seal(f, crc, &bytes, &size), 0);
        assert_int_equal((size - f->data_size) % 64, 0);
        struct frame *g = parse_bytes(bytes, size), *h = read_bytes(bytes, size, size);
        assert_non_null(g);
        assert_non_null(h);
        assert_same(f, g);
        assert_same(f, h);
        assert_int_equal(frame_meta(g, "crc32") != NULL, crc);
        frame_free(g);
        frame_free(h);
    }
    frame_free(f);
}

static void test_alignment(void **state)
{
    (void)state;
    struct frame *f = sample();
    for (int i = 0; i < f->n_tensors; i++) {
        const struct tensor *t = &f->tensors[i];
        assert_int_equal((uintptr_t)t->data % (t->bytes % 64 == 0 ? 64 : dtype_size(t->dtype)), 0);
    }
    frame_free(f);
    /* A frame of another program, which is unpadded and has a float at an odd offset. */
    unsigned char bytes[512];
    size_t size = make(bytes,
                       "{\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},"
                       "\"x\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[3,11]},"
                       "\"__metadata__\":{\"k\":\"v\"}}",
                       11);
    const float x[2] = {1.5f, -2};
    memcpy(bytes + size - 8, x, 8);
    f = parse_bytes(bytes, size);
    assert_non_null(f);
    const struct tensor *t = frame_need(f, "x", DTYPE_F32, 1, (int64_t[]){2});
    assert_non_null(t);
    assert_int_equal((uintptr_t)t->data % 4, 0);
    assert_memory_equal(t->data, x, 8);
    assert_string_equal(frame_meta(f, "k"), "v");
    frame_free(f);
}

static void test_pass_through(void **state)
{
    (void)state;
    struct frame *f = sample();
    struct frame *g = frame_derive(f, &(struct tensor_spec){"h", DTYPE_F32, 1, {4}}, 1,
                                   (const char *const[]){"x", NULL});
    assert_non_null(g);
    assert_int_equal(g->n_tensors, f->n_tensors);
    assert_null(frame_find(g, "x"));
    assert_memory_equal(frame_find(g, "h")->data, ((float[4]){0}), 16);
    assert_memory_equal(frame_find(g, "long")->data, frame_find(f, "long")->data, 24);
    assert_string_equal(frame_meta(g, "text"), frame_meta(f, "text"));
    struct frame *copy = frame_copy(f), *metas = frame_copy_metas(f);
    assert_same(f, copy);
    assert_int_equal(metas->n_tensors, 0);
    assert_int_equal(metas->n_metas, f->n_metas);
    frame_free(copy);
    frame_free(metas);
    frame_free(f);
    frame_free(g);
}

static void test_metadata(void **state)
{
    (void)state;
    struct frame *f = frame_new(NULL, 0);
    int64_t i;
    double d;
    assert_int_equal(frame_meta_int(f, "n", 5, &i), 0);
    assert_int_equal(i, 5);
    frame_set_meta_int(f, "n", INT64_MIN);
    assert_int_equal(frame_meta_int(f, "n", 5, &i), 0);
    assert_true(i == INT64_MIN);
    const float values[] = {0.1f, 1.17549435e-38f, 3.4028235e38f, 1e-45f, -0.0f, 16777217.0f};
    for (size_t k = 0; k < sizeof values / sizeof *values; k++) {
        frame_set_meta_float(f, "x", values[k]);
        assert_int_equal(frame_meta_double(f, "x", 0, &d), 0);
        assert_true((float)d == values[k]);
    }
    static const char *const bad[] = {"", "x", "1x", "1.5", "9223372036854775808"};
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        frame_set_meta(f, "n", bad[k]);
        assert_int_equal(frame_meta_int(f, "n", 0, &i), -1);
    }
    /* Text that is not UTF-8 must not make a header that nobody can read. */
    frame_set_meta(f, "error", "no file '\xff\xfe'");
    const unsigned char *bytes;
    size_t size;
    assert_int_equal(frame_seal(f, false, &bytes, &size), 0);
    struct frame *g = parse_bytes(bytes, size);
    assert_non_null(g);
    assert_string_equal(frame_meta(g, "error"), "no file '?\?'");
    frame_free(g);
    /* Set more metadata than the frame has reserved room for. */
    char *long_text = calloc(1, 100001);
    memset(long_text, 'a', 100000);
    frame_set_meta(f, "long", long_text);
    assert_int_equal(frame_seal(f, false, &bytes, &size), 0);
    g = parse_bytes(bytes, size);
    assert_non_null(g);
    assert_string_equal(frame_meta(g, "long"), long_text);
    free(long_text);
    frame_free(g);
    frame_free(f);
    f = frame_new((struct tensor_spec[]){{"a\xff", DTYPE_U8, 0, {0}}, {"b", DTYPE_U8, 0, {0}}}, 2);
    assert_int_equal(frame_seal(f, false, &bytes, &size), -1);
    frame_free(f);
}

static void test_frame_new_refuses(void **state)
{
    (void)state;
    const struct tensor_spec doubled[] = {{"a", DTYPE_U8, 1, {1}}, {"a", DTYPE_U8, 1, {1}}};
    assert_null(frame_new(doubled, 2));
    assert_null(frame_new(&(struct tensor_spec){"", DTYPE_U8, 0, {0}}, 1));
    assert_null(frame_new(&(struct tensor_spec){"a", DTYPE_U8, 1, {-1}}, 1));
    assert_null(frame_new(&(struct tensor_spec){"a", DTYPE_F32, 2, {1L << 40, 1L << 40}}, 1));
    assert_null(frame_new(&(struct tensor_spec){"__metadata__", DTYPE_U8, 0, {0}}, 1));
}

/* For each defect: a header, the number of data bytes after it, and a part of the message. */
static const struct {
    const char *json;
    size_t data;
    const char *says;
} defects[] = {
    {"", 0, "header"},
    {"[]", 0, "does not start with '{'"},
    {" {}", 0, "does not start with '{'"},
    {"{", 0, "bad header at byte 9"},
    {"{}x", 0, "bad header at byte"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}", 1, "bad header"},
    {"{\"__metadata__\":{\"k\":\"\xff\"}}", 0, "unable to decode byte"},
    {"{\"__metadata__\":{\"k\":\"\xc0\x80\"}}", 0, "unable to decode byte"},
    {"{\"__metadata__\":{\"k\":\"\\u0000\"}}", 0, "bad header"},
    {"{\"__metadata__\":{\"k\":1}}", 0, "metadata k is not a string"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
    {"{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}", 0, "duplicate"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, "duplicate"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
     "duplicate"},
    {"{\"a\":1}", 0, "'a' is no tensor's entry"},
    {"{\"\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", 1, "is no tensor's entry"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "unknown dtype 'F64'"},
    {"{\"a\":{\"dtype\":\"f32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "unknown dtype 'f32'"},
    {"{\"a\":{\"dtype\":3,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "lacks a dtype"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "lacks a dtype"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,4]}}", 4, "lacks a dtype, a shape"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":4,\"data_offsets\":[0,4]}}", 4, "lacks"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4,4]}}", 4, "data_offsets"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"b\":1}}", 4,
     "unknown entry 'b'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1],\"data_offsets\":[0,1]}}", 1, "negative"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0],\"data_offsets\":[0,1]}}", 1, "no integer"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[\"1\"],\"data_offsets\":[0,1]}}", 1, "no integer"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
     "overflows"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     "overflows"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0,
     "integer"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}", 1,
     "more than 8 dimensions"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 1,
     "impossible data_offsets"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,0]}}", 1,
     "impossible data_offsets"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1.5]}}", 1,
     "impossible data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,7]}}", 7,
     "spans 7 bytes where its shape and dtype make 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, "spans 8 bytes"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[2,4]}}", 4,
     "gap at byte 0 of the data"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]}}",
     5, "gap at byte 2"},
    /* The tensors are in another order than their bytes, with a gap before both. */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]}}",
     5, "gap at byte 0"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[1,3]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
     3, "overlap at byte 1"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},"
     "\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
     2, "overlap at byte 0"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 1, "truncated"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 3, "trailing bytes"},
    {"{}", 1, "trailing bytes"},
    {"{\"__metadata__\":{\"crc32\":\"00000000\"},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
     2, "CRC-32 is 41d912ff, the header says 00000000"},
    {"{\"__metadata__\":{\"crc32\":\"41d912f\"},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}",
     2, "CRC-32"},
    /* The size is far larger than the data, and must not be allocated. */
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1000000000000000],\"data_offsets\":[0,1000000000000000]}"
     "}",
     1, "truncated: 1 bytes of data, where the header says 1000000000000000"},
};

static void assert_says(const char *part, const char *json)
{
    if (strncmp(fail_message(), "it: ", 4) || !strstr(fail_message(), part))
        fail_msg("%s: message is '%s', without '%s'", json, fail_message(), part);
}

static void test_defects(void **state)
{
    (void)state;
    unsigned char bytes[1024];
    for (size_t i = 0; i < sizeof defects / sizeof *defects; i++) {
        size_t size = make(bytes, defects[i].json, defects[i].data);
        assert_null(parse_bytes(bytes, size));
        assert_says(defects[i].says, defects[i].json);
        /* In a stream, the bytes after a frame are the next frame. */
        struct frame *f = read_bytes(bytes, size, 1 << 20);
        if (strcmp(defects[i].says, "trailing bytes"))
            assert_null(f);
        frame_free(f);
    }
    size_t size = make(bytes, "{}", 0);
    for (size_t cut = 0; cut < size; cut++) {
        assert_null(parse_bytes(bytes, cut));
        assert_says("truncated", "{}");
    }
    struct frame *f = parse_bytes(bytes, size); /* a frame without tensors or metadata */
    assert_non_null(f);
    frame_free(f);
}

static void test_limits(void **state)
{
    (void)state;
    unsigned char bytes[1024] = {0};
    /* Header lengths that cannot be intended. */
    static const uint64_t lengths[] = {100000001, 1ull << 32, UINT64_MAX, UINT64_MAX - 7,
                                       1ull << 63};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        memcpy(bytes, &lengths[i], 8);
        memset(bytes + 8, '{', 100);
        assert_null(parse_bytes(bytes, 108));
        assert_says("longer than 100000000", "length");
        assert_null(read_bytes(bytes, 108, FRAME_DEFAULT_LIMIT));
        assert_says("longer than 100000000", "length");
    }
    /* A plausible length of missing data must cost no memory, and counts as truncated. */
    memcpy(bytes, &(uint64_t){100000000}, 8);
    assert_null(parse_bytes(bytes, 108));
    assert_says("truncated", "length");
    assert_null(read_bytes(bytes, 108, FRAME_DEFAULT_LIMIT));
    assert_says("truncated in the header", "length");
    /* Test the limit of --max-frame. */
    size_t size =
        make(bytes, "{\"a\":{\"dtype\":\"U8\",\"shape\":[500],\"data_offsets\":[0,500]}}", 500);
    assert_null(read_bytes(bytes, size, 500));
    assert_says("over the limit of 500 (--max-frame)", "limit");
    struct frame *f = read_bytes(bytes, size, size);
    assert_non_null(f);
    frame_free(f);
    assert_null(read_bytes(bytes, size, 20));
    assert_says("longer than 20", "limit");
    /* Make more tensors than a frame may hold. */
    char *json = malloc(2000000);
    size_t at = (size_t)sprintf(json, "{");
    for (int i = 0; i < FRAME_MAX_ENTRIES + 1; i++)
        at += (size_t)sprintf(json + at,
                              "%s\"%d\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
                              i ? "," : "", i);
    sprintf(json + at, "}");
    unsigned char *many = malloc(at + 100);
    size = make(many, json, 0);
    assert_null(parse_bytes(many, size));
    assert_says("over the limit", "entries");
    free(many);
    free(json);
}

/* Whatever byte is changed, a frame is read or refused with a message, and the tensors that are
 * read are within its buffer. */
static void test_damage(void **state)
{
    (void)state;
    struct frame *f = sample();
    const unsigned char *sealed;
    size_t size;
    assert_int_equal(frame_seal(f, true, &sealed, &size), 0);
    unsigned char *bytes = malloc(size);
    memcpy(bytes, sealed, size);
    size_t header = size - f->data_size;
    int refused = 0;
    for (size_t i = 0; i < size; i++) {
        static const unsigned char flips[] = {0x01, 0x02, 0x10, 0x40, 0x80, 0xff};
        for (size_t k = 0; k < sizeof flips; k++) {
            bytes[i] = (unsigned char)(sealed[i] ^ flips[k]);
            struct frame *g = parse_bytes(bytes, size);
            if (!g) {
                refused++;
                assert_int_equal(strncmp(fail_message(), "it: ", 4), 0);
            } else if (i >= header) {
                fail_msg("data byte %zu was damaged and crc32 did not see it", i);
            } else {
                volatile unsigned char sum = 0;
                for (int t = 0; t < g->n_tensors; t++)
                    for (size_t j = 0; j < g->tensors[t].bytes; j++)
                        sum = (unsigned char)(sum + ((unsigned char *)g->tensors[t].data)[j]);
            }
            frame_free(g);
        }
        bytes[i] = sealed[i];
    }
    assert_true(refused > (int)f->data_size * 6);
    for (size_t cut = 0; cut < size; cut++) {
        assert_null(parse_bytes(bytes, cut));
        assert_says("truncated", "cut");
        if (cut) {
            assert_null(read_bytes(bytes, cut, size));
            assert_says("truncated", "cut");
        }
    }
    free(bytes);
    frame_free(f);
}

static void test_need(void **state)
{
    (void)state;
    struct frame *f = sample();
    assert_non_null(frame_need(f, "x", DTYPE_F32, 2, (int64_t[]){-1, 2}));
    assert_non_null(frame_need(f, "x", DTYPE_F32, -1, NULL));
    assert_null(frame_need(f, "x", DTYPE_F32, 2, (int64_t[]){16, 3}));
    assert_string_equal(fail_message(), "tensor x is F32 [16,2], not F32 [16,3]");
    assert_null(frame_need(f, "x", DTYPE_U8, 3, (int64_t[]){-1, 2, 3}));
    assert_string_equal(fail_message(), "tensor x is F32 [16,2], not U8 [?,2,3]");
    assert_null(frame_need(f, "z", DTYPE_U8, 1, (int64_t[]){-1}));
    assert_string_equal(fail_message(), "the frame has no tensor z");
    frame_free(f);
}

static void test_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/test_frame.XXXXXX", path[64];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.st", folder);
    struct frame *f = sample();
    assert_int_equal(frame_save(f, path), 0);
    struct frame *g = frame_load(path);
    assert_non_null(g);
    assert_same(f, g);
    frame_free(g);
    FILE *file = fopen(path, "a");
    fputc(' ', file);
    fclose(file);
    assert_null(frame_load(path));
    assert_non_null(strstr(fail_message(), "trailing bytes"));
    file = fopen(path, "w");
    fclose(file);
    assert_null(frame_load(path));
    assert_non_null(strstr(fail_message(), "empty"));
    unlink(path);
    assert_null(frame_load(path));
    assert_non_null(strstr(fail_message(), "No such file"));
    assert_null(frame_load(folder));
    assert_int_equal(frame_save(f, "/nowhere/a.st"), -1);
    assert_non_null(strstr(fail_message(), "/nowhere/a.st: No such file"));
    assert_int_equal(rmdir(folder), 0); /* the folder is empty */
    frame_free(f);
}

static void test_messages(void **state)
{
    (void)state;
    (fail)("%s", "two\nlines \x1b[31m");
    assert_string_equal(fail_message(), "two?lines ?[31m");
    (fail)("again: %s", fail_message());
    assert_string_equal(fail_message(), "again: two?lines ?[31m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_literal_bytes), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_alignment),     cmocka_unit_test(test_pass_through),
        cmocka_unit_test(test_metadata),      cmocka_unit_test(test_frame_new_refuses),
        cmocka_unit_test(test_defects),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_damage),        cmocka_unit_test(test_need),
        cmocka_unit_test(test_files),         cmocka_unit_test(test_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
