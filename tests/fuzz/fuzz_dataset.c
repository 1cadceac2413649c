/* Folders of data: CIFAR-10's files, or PNGs in folders. The input's parts are a name, a newline
 * and the file's bytes; "=" in their place is a small PNG, and "#" some whole records of CIFAR-10
 * that are repeated from what follows. */
#include "dataset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tree.h"

enum { RECORD = 3073 };

/* 1 x 1 pixel, grey. */
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
    } else
        tree_add(name, bytes);
    free(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char *const formats[] = {"auto", "cifar10", "folder"};
    struct input rest = {bytes, size}, part;
    const uint8_t how = input_byte(&rest);
    const char *path = tree_new();
    while (input_part(&rest, &part))
        add_file(part);
    struct dataset *set = dataset_open(path, formats[how / 2 % 3], how % 2 ? "test" : "train", 32);
    if (!set)
        return 0;
    struct image image = {0};
    assert(dataset_count(set) > 0);
    for (int64_t i = 0; i < dataset_count(set); i++)
        if (!dataset_get(set, i, &image))
            assert(image.pixels && image.width > 0 && image.height > 0 && image.label >= -1 &&
                   image.label < (dataset_classes(set) ? dataset_classes(set) : 1));
    image_free(&image);
    dataset_close(set);
    return 0;
}
