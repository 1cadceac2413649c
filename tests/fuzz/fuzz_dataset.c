/* Fuzzes data of all formats: the contents of a folder or of one of its files, an archive, and
 * frames. Two bytes decide how to open the data. Each part of the input is a name, a newline and
 * the bytes of the file. "=" instead of the bytes means a small PNG, "#" means some whole records of
 * CIFAR-10 that repeat the bytes after it, and "*" means the bytes after it, in which "@C" and "@S"
 * stand for the pixels of an image of CIFAR or STL-10. */
#include "data/dataset.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "link/endpoint.h"
#include "tree.h"

enum { RECORD = 3073, CIFAR_BYTES = 3072, STL10_BYTES = 27648, MAX_EXPANDED = 1 << 20 };

/* A grey PNG of 1 x 1 pixel. */
static const uint8_t dot[] = {0x89, 'P',  'N', 'G',  '\r', '\n', 0x1a, '\n', 0,    0,    0, 13,
                              'I',  'H',  'D', 'R',  0,    0,    0,    1,    0,    0,    0, 1,
                              8,    0,    0,   0,    0,    0x3a, 0x7e, 0x9b, 0x55, 0,    0, 0,
                              10,   'I',  'D', 'A',  'T',  0x78, 0xda, 0x63, 0xf8, 0x0f, 0, 0x01,
                              0x01, 0x01, 0,   0x1b, 0xb6, 0xee, 0x56, 0,    0,    0,    0, 'I',
                              'E',  'N',  'D', 0xae, 0x42, 0x60, 0x82};

static void add_records(const char *name, struct input fill)
{
    const size_t n = 1 + fill.size % 3;
    uint8_t *records = malloc(n * RECORD);
    assert(records);
    for (size_t i = 0; i < n * RECORD; i++)
        records[i] = fill.size ? fill.bytes[i % fill.size] : 7;
    for (size_t i = 0; i < n && i < fill.size; i++)
        records[i * RECORD] = fill.bytes[i] - '0';
    tree_add(name, (struct input){records, n * RECORD});
    free(records);
}

static void add_expanded(const char *name, struct input from)
{
    uint8_t *bytes = calloc(1, MAX_EXPANDED + STL10_BYTES);
    size_t n = 0;
    assert(bytes);
    while (from.size && n < MAX_EXPANDED) {
        const uint8_t byte = input_byte(&from), kind = from.size ? *from.bytes : 0;
        if (byte == '@' && (kind == 'C' || kind == 'S')) {
            n += kind == 'C' ? CIFAR_BYTES : STL10_BYTES;
            input_byte(&from);
        } else
            bytes[n++] = byte;
    }
    tree_add(name, (struct input){bytes, n});
    free(bytes);
}

static void add_file(struct input part)
{
    const uint8_t *newline = memchr(part.bytes, '\n', part.size);
    const size_t length = newline ? (size_t)(newline - part.bytes) : part.size;
    char *name = input_text((struct input){part.bytes, length});
    struct input bytes = {part.bytes + length, part.size - length};
    input_byte(&bytes);
    if (bytes.size == 1 && *bytes.bytes == '=')
        bytes = (struct input){dot, sizeof dot};
    if (bytes.size && *bytes.bytes == '#') {
        input_byte(&bytes);
        add_records(name, bytes);
    } else if (bytes.size && *bytes.bytes == '*') {
        input_byte(&bytes);
        add_expanded(name, bytes);
    } else
        tree_add(name, bytes);
    free(name);
}

static void look_at(const struct dataset *set, const struct sample *s)
{
    const int classes = dataset_classes(set);
    assert(s->label >= -1 && (s->label < classes || dataset_is_stream(set)));
    const size_t pixel = dataset_channels(set) ? sizeof(float) * (size_t)dataset_channels(set)
                                               : image_pixel_bytes(s->kind);
    assert(s->width == 0 || s->size == pixel * (size_t)s->width * (size_t)s->height);
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < s->size; i++)
        sum = (uint8_t)(sum + s->bytes[i]);
}

static void read_all(struct dataset *set)
{
    struct sample s = {0};
    if (dataset_is_stream(set)) {
        while (dataset_next(set, &s) > 0)
            look_at(set, &s);
        if (dataset_rewind(set) == 0 && dataset_next(set, &s) > 0)
            look_at(set, &s);
    } else {
        assert(dataset_count(set) > 0);
        for (int64_t i = 0; i < dataset_count(set); i++)
            if (!dataset_get(set, i, &s))
                look_at(set, &s);
    }
    sample_free(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const formats[] = {"auto", "cifar10", "folder", "cifar100", "idx",
                                          "tar",  "frames",  "series", "stl10"};
    struct input rest = {bytes, size}, part;
    const uint8_t format = input_byte(&rest), how = input_byte(&rest);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", tree_new());
    for (bool first = true; input_part(&rest, &part); first = false) {
        const uint8_t *newline = memchr(part.bytes, '\n', part.size);
        if (first && how & 1 && newline && newline - part.bytes < NAME_MAX)
            snprintf(path + strlen(path), NAME_MAX, "/%.*s", (int)(newline - part.bytes),
                     (const char *)part.bytes);
        add_file(part);
    }
    const struct link_config links = {.max_frame = INPUT_MAX_FRAME};
    struct read_errors *errors = read_errors_new(how & 2);
    assert(errors);
    struct dataset *set = dataset_open(&(struct dataset_options){.path = path,
                                                                 .format = formats[format % 9],
                                                                 .split = how & 64  ? "unlabeled"
                                                                          : how & 4 ? "test"
                                                                                    : "train",
                                                                 .hold = how & 32,
                                                                 .size = 32,
                                                                 .budget = how & 8 ? 0 : 1 << 20,
                                                                 .links = &links},
                                       errors);
    if (set)
        read_all(set);
    dataset_close(set);
    read_errors_free(errors);
    return 0;
}
