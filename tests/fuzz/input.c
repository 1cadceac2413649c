#include "input.h"

#include <assert.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fail.h"
#include "frame/frame_io.h"
#include "report/statistics.h"

enum { SEPARATOR = 0xff };

bool input_part(struct input *rest, struct input *part)
{
    if (!rest->size)
        return false;
    const uint8_t *end = memchr(rest->bytes, SEPARATOR, rest->size);
    part->bytes = rest->bytes;
    part->size = end ? (size_t)(end - rest->bytes) : rest->size;
    const size_t taken = part->size + (end != NULL);
    rest->bytes += taken;
    rest->size -= taken;
    return true;
}

uint8_t input_byte(struct input *rest)
{
    if (!rest->size)
        return 0;
    rest->size--;
    return *rest->bytes++;
}

char *input_text(struct input part)
{
    char *text = strndup((const char *)part.bytes, part.size);
    assert(text);
    return text;
}

/* Returns the text before the first 0, and sets *data to the bytes after it. */
static struct input text_of(struct input part, struct input *data)
{
    const uint8_t *zero = memchr(part.bytes, 0, part.size);
    const size_t length = zero ? (size_t)(zero - part.bytes) : part.size;
    *data = (struct input){part.bytes + length, part.size - length};
    input_byte(data);
    return (struct input){part.bytes, length};
}

/* Parses the JSON in memory of exactly its size, so that AddressSanitizer notices every byte read
 * beyond it. */
static struct frame *from_json(struct input json)
{
    unsigned char *data;
    char *exact = malloc(json.size ? json.size : 1);
    assert(exact);
    memcpy(exact, json.bytes, json.size);
    struct frame *f = frame_from_header(exact, json.size, INPUT_MAX_FRAME, "it", &data);
    free(exact);
    return f;
}

/* Reads a line such as "z F32 4 2 128". */
static int read_spec(char *line, struct tensor_spec *spec)
{
    char *rest = line, *word;
    *spec = (struct tensor_spec){.name = strsep(&rest, " "), .dtype = DTYPE_COUNT};
    for (int d = 0; rest && d < DTYPE_COUNT; d++)
        if (!strncmp(rest, dtype_name((enum dtype)d), strcspn(rest, " ")))
            spec->dtype = (enum dtype)d;
    if (spec->dtype == DTYPE_COUNT)
        return fail("no dtype");
    strsep(&rest, " ");
    double bytes = (double)dtype_size(spec->dtype);
    while ((word = strsep(&rest, " "))) {
        if (spec->ndim == FRAME_MAX_DIMS)
            return fail("too many dimensions");
        spec->shape[spec->ndim] = strtoll(word, NULL, 10);
        bytes *= (double)spec->shape[spec->ndim++];
    }
    return bytes <= INPUT_MAX_FRAME ? 0 : fail("too large");
}

enum { MOST_LINES = 256 };

static struct frame *from_lines(char *text)
{
    struct tensor_spec specs[MOST_LINES];
    char *metas[MOST_LINES], *rest = text, *line;
    int n_specs = 0, n_metas = 0;
    json_t *valid = json_string(text); /* text that comes over a link is UTF-8 */
    if (!valid)
        return NULL;
    json_decref(valid);
    while ((line = strsep(&rest, "\n")) && n_specs < MOST_LINES && n_metas < MOST_LINES) {
        if (strchr(line, '='))
            metas[n_metas++] = line;
        else if (*line && read_spec(line, &specs[n_specs++]))
            return NULL;
    }
    struct frame *f = frame_new(specs, n_specs);
    for (int i = 0; f && i < n_metas; i++) {
        const char *key = strsep(&metas[i], "=");
        frame_set_meta(f, key, metas[i]);
    }
    return f;
}

struct frame *input_frame(struct input part)
{
    struct input fill, text = text_of(part, &fill);
    char *lines = input_text(text);
    struct frame *f = *lines == '{' || !*lines ? from_json(text) : from_lines(lines);
    for (size_t i = 0; f && i < f->data_size; i++)
        f->buffer[f->room + i] = fill.size ? fill.bytes[i % fill.size] : 0;
    free(lines);
    return f ? frame_finish(f, "it") : NULL;
}

int input_file(struct input part)
{
    int fd = memfd_create("input", MFD_CLOEXEC);
    assert(fd >= 0 && !write_all(fd, part.bytes, part.size, "it"));
    lseek(fd, 0, SEEK_SET);
    return fd;
}

static void write_frame(int fd, struct input part)
{
    if (!part.size || *part.bytes == '!') {
        input_byte(&part);
        assert(!write_all(fd, part.bytes, part.size, "it"));
        return;
    }
    struct input fill, text = text_of(part, &fill);
    struct frame *f = input_frame(part);
    if (*part.bytes == '{') { /* unchanged; the reader must refuse it if input_frame() did */
        uint64_t length = text.size;
        assert(!write_all(fd, &length, sizeof length, "it"));
        assert(!write_all(fd, text.bytes, text.size, "it"));
        for (int i = 0; f && i < f->n_tensors; i++)
            assert(!write_all(fd, f->tensors[i].data, f->tensors[i].bytes, "it"));
    } else if (f) {
        const unsigned char *bytes;
        size_t size;
        if (!frame_seal(f, false, &bytes, &size))
            assert(!write_all(fd, bytes, size, "it"));
    }
    frame_free(f);
}

int input_stream(struct input rest)
{
    struct input part;
    int fd = input_file((struct input){0});
    while (input_part(&rest, &part))
        write_frame(fd, part);
    lseek(fd, 0, SEEK_SET);
    return fd;
}

const char *input_path(int fd)
{
    static char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return path;
}

static void compare_tensors(const struct frame *a, const struct frame *b)
{
    assert(a->n_tensors == b->n_tensors);
    for (int i = 0; i < a->n_tensors; i++) {
        const struct tensor *t = &a->tensors[i], *u = frame_find(b, t->name);
        assert(u && u->dtype == t->dtype && u->ndim == t->ndim && u->bytes == t->bytes);
        assert(!memcmp(u->shape, t->shape, (size_t)t->ndim * sizeof *t->shape));
        assert(!memcmp(u->data, t->data, t->bytes));
    }
}

static void compare_metas(const struct frame *a, const struct frame *b)
{
    assert(a->n_metas == b->n_metas);
    for (int i = 0; i < a->n_metas; i++) {
        const char *value = frame_meta(b, a->metas[i].key);
        assert(value && !strcmp(value, a->metas[i].value));
    }
}

void look_at_frame(struct frame *f)
{
    static const char *const keys[] = {"step", "seq", "rank", "loss", ""};
    for (int i = 0; i < f->n_tensors; i++) {
        const struct tensor *t = &f->tensors[i];
        assert((uintptr_t)t->data % dtype_size(t->dtype) == 0);
        const struct statistics s = statistics_of(t);
        assert(s.count * dtype_size(t->dtype) == t->bytes && s.nan + s.inf <= s.count);
        assert(frame_need(f, t->name, t->dtype, t->ndim, t->shape) == frame_find(f, t->name));
        frame_need(f, t->name, DTYPE_U8, 1, (int64_t[]){-1});
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        int64_t integer;
        double number;
        frame_meta_int(f, keys[i], 0, &integer);
        frame_meta_double(f, keys[i], 0, &number);
    }
    struct frame *copy = frame_copy(f);
    assert(copy);
    compare_tensors(f, copy);
    compare_metas(f, copy);
    frame_free(copy);
    for (int crc = 0; crc < 2; crc++) {
        const unsigned char *bytes;
        size_t size;
        assert(!frame_seal(f, crc, &bytes, &size));
        struct frame *again = frame_parse(bytes, size, "sealed");
        assert(again);
        compare_tensors(f, again);
        compare_metas(f, again);
        frame_free(again);
    }
}
