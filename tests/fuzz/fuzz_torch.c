/* Fuzzes files of torch.save(). The first byte says what the rest is:
 *
 *   0   a file
 *   1   a zip archive is made of it, since CRCs stop the fuzzer otherwise: two bytes with the length
 *       of data.pkl, data.pkl, and what data/0 to data/3 repeat, each of 48 bytes
 *   2   it follows the first three pickles of the form before PyTorch 1.6
 *   3   a pickle alone, all of whose values are looked at */
#include "python/torch_file.h"

#include <archive.h>
#include <archive_entry.h>
#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "python/pickle.h"
#include "tree.h"

enum { STORAGE = 48 };

/* The magic number, the version and {"little_endian": True}. */
static const uint8_t start[] =
    "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\2M\xe9\3.\x80\2}X\r\0\0\0"
    "little_endian\x88s.";

static void add_entry(struct archive *zip, const char *name, const uint8_t *bytes, size_t n)
{
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, name);
    archive_entry_set_size(e, (la_int64_t)n);
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0644);
    assert(archive_write_header(zip, e) == ARCHIVE_OK);
    archive_write_data(zip, bytes, n);
    archive_entry_free(e);
}

/* Makes a zip archive in memory. */
static size_t make_zip(struct input rest, uint8_t *out, size_t room)
{
    struct archive *zip = archive_write_new();
    assert(zip && archive_write_set_format_zip(zip) == ARCHIVE_OK);
    archive_write_set_options(zip, "zip:compression=store");
    archive_write_set_bytes_per_block(zip, 0);
    size_t used = 0, n = input_byte(&rest);
    n = n << 8 | input_byte(&rest);
    assert(archive_write_open_memory(zip, out, room, &used) == ARCHIVE_OK);
    n = n < rest.size ? n : rest.size;
    add_entry(zip, "a/data.pkl", rest.bytes, n);
    uint8_t storage[STORAGE];
    for (size_t i = 0; i < STORAGE; i++)
        storage[i] = n < rest.size ? rest.bytes[n + i % (rest.size - n)] : 1;
    for (int i = 0; i < 4; i++)
        add_entry(zip, (char[]){'a', '/', 'd', 'a', 't', 'a', '/', (char)('0' + i), 0}, storage,
                  STORAGE);
    archive_write_close(zip);
    archive_write_free(zip);
    return used;
}

static bool odd(const char *name, void *context)
{
    (void)context;
    return name[0] & 1;
}

static void look_at_file(const uint8_t *bytes, size_t n)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", tree_new());
    tree_add("f", (struct input){bytes, n});
    strcat(path, "/f");
    const bool recognized = torch_file_recognize(path);
    struct frame *f = torch_file_load(path, n & 1 ? odd : NULL, NULL);
    if (f) {
        assert(recognized);
        look_at_frame(f);
    }
    frame_free(f);
}

/* Follows a pickle's values, as deep as values can hold others that were made before them. */
static void look_at_values(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = malloc(n + 1); /* so that a read after its end is found */
    assert(copy);
    memcpy(copy, bytes, n);
    bool cut;
    struct pickle *p = pickle_read(copy, n, 0, "it", NULL, &cut);
    if (p) {
        const struct pickle_value *v = pickle_root(p);
        volatile uint8_t sum = 0;
        for (int depth = 0; v && depth < 100; depth++) {
            char text[PICKLE_GLOBAL_TEXT];
            assert(v->kind <= PICKLE_PERSISTENT);
            if (v->kind == PICKLE_BYTES || v->kind == PICKLE_TEXT)
                for (size_t i = 0; i < v->bytes.n; i++)
                    sum = (uint8_t)(sum + v->bytes.start[i]);
            if (v->kind == PICKLE_GLOBAL)
                pickle_global_text(v, text);
            if (v->kind == PICKLE_DICT)
                assert(v->list.n % 2 == 0);
            v = v->kind == PICKLE_CALL         ? v->call.arguments
                : v->kind == PICKLE_PERSISTENT ? v->persistent
                : v->kind >= PICKLE_TUPLE && v->kind <= PICKLE_DICT && v->list.n
                    ? v->list.items[v->list.n - 1]
                    : NULL;
        }
    }
    pickle_free(p);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t file[1 << 16];
    struct input rest = {bytes, size};
    const uint8_t how = input_byte(&rest) & 3;
    if (how == 0)
        look_at_file(rest.bytes, rest.size);
    else if (how == 1)
        look_at_file(file, make_zip(rest, file, sizeof file));
    else if (how == 2 && rest.size < sizeof file - sizeof start) {
        memcpy(file, start, sizeof start - 1);
        if (rest.size)
            memcpy(file + sizeof start - 1, rest.bytes, rest.size);
        look_at_file(file, sizeof start - 1 + rest.size);
    } else
        look_at_values(rest.bytes, rest.size);
    return 0;
}
