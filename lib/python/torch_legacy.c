#include "python/torch_legacy.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/regular_file.h"
#include "python/pickle.h"

enum {
    PROTOCOL_VERSION = 1001,
    FIRST_LOOK = 1 << 20, /* bytes in which the pickles are looked for first */
    MAX_PICKLES = 64 << 20,
    STEP = 8,
    COUNT_BYTES = 8 /* of a storage, before its values */
};

/* LONG1 with the ten bytes of the magic number, and STOP. */
static const uint8_t magic[] = {0x8a, 10,   0x6c, 0xfc, 0x9c, 0x46, 0xf9,
                                0x20, 0x6a, 0xa8, 0x50, 0x19, '.'};

bool torch_legacy_recognize(const uint8_t *first, size_t n)
{
    return n > 2 && first[0] == 0x80 && memmem(first, n, magic, sizeof magic);
}

static int read_at(const struct torch_legacy *file, uint8_t *bytes, size_t n, int64_t at)
{
    for (size_t done = 0; done < n;) {
        const ssize_t got = pread(file->fd, bytes + done, n - done, (off_t)at + (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return fail("%s: %s", file->path, got < 0 ? strerror(errno) : "truncated");
        done += (size_t)got;
    }
    return 0;
}

/* Checks the value of one of the first three pickles. */
static int check_value(const struct torch_legacy *file, int which, const struct pickle_value *v)
{
    if (which == 1 && (v->kind != PICKLE_INTEGER || v->integer != PROTOCOL_VERSION))
        return fail("%s: a version of PyTorch's format that is not read (%d is)", file->path,
                    PROTOCOL_VERSION);
    if (which != 2)
        return 0;
    const struct pickle_value *little =
        v->kind == PICKLE_DICT ? pickle_find(v, "little_endian") : NULL;
    if (!little || little->kind != PICKLE_BOOL)
        return fail("%s: it does not say in which byte order it was written", file->path);
    return little->integer ? 0
                           : fail("%s: it was written on a big-endian machine; save it again on "
                                  "another",
                                  file->path);
}

/* Reads the five pickles in the bytes. Returns -1 with a message, and sets *cut if there are too
 * few bytes. */
static int read_pickles(struct torch_legacy *file, bool *cut)
{
    size_t at = 0;
    for (int which = 0; which < 5; which++) {
        struct pickle *p = pickle_read(file->bytes, file->n, at, file->path, NULL, cut);
        if (!p)
            return -1;
        at = pickle_end(p);
        if (which == 3)
            file->object = p;
        else if (which == 4)
            file->keys = p;
        else {
            const int result = check_value(file, which, pickle_root(p));
            pickle_free(p);
            if (result)
                return -1;
        }
    }
    return pickle_root(file->keys)->kind == PICKLE_LIST
               ? 0
               : fail("%s: it has no list of storages", file->path);
}

int torch_legacy_open(struct torch_legacy *file, const char *path)
{
    *file = (struct torch_legacy){.path = path};
    file->fd = regular_file_open(path, &file->size);
    if (file->fd < 0)
        return -1;
    /* The size of the pickles is not known, and the file may be large. */
    for (size_t look = FIRST_LOOK;; look *= STEP) {
        const size_t most = look < MAX_PICKLES ? look : MAX_PICKLES;
        file->n = file->size < (int64_t)most ? (size_t)file->size : most;
        free(file->bytes);
        file->bytes = malloc(file->n + 1);
        if (!file->bytes)
            return fail_memory(path);
        if (read_at(file, file->bytes, file->n, 0))
            return -1;
        bool cut = false;
        if (read_pickles(file, &cut) == 0)
            return 0;
        if (!cut || file->n < most || most == MAX_PICKLES)
            return -1;
        pickle_free(file->object);
        pickle_free(file->keys);
        file->object = file->keys = NULL;
    }
}

void torch_legacy_close(struct torch_legacy *file)
{
    pickle_free(file->object);
    pickle_free(file->keys);
    free(file->places);
    free(file->bytes);
    if (file->fd >= 0)
        close(file->fd);
}

/* ---- storages ---- */

/* Returns the storage of key i, or NULL with a message. */
static struct torch_storage *storage_of(const struct torch_legacy *file,
                                        const struct torch_storages *storages, uint32_t i)
{
    const struct pickle_value *key = pickle_root(file->keys)->list.items[i];
    struct torch_storage *s = key->kind == PICKLE_TEXT || key->kind == PICKLE_BYTES
                                  ? torch_storages_find(storages, key->bytes.start, key->bytes.n)
                                  : NULL;
    return s ? s : fail_null("%s: its list of storages is damaged", file->path);
}

int torch_legacy_check(struct torch_legacy *file, const struct torch_storages *storages)
{
    const uint32_t n = pickle_root(file->keys)->list.n;
    int64_t at = (int64_t)pickle_end(file->keys);
    free(file->places);
    file->places = calloc((size_t)n + 1, sizeof *file->places);
    if (!file->places)
        return fail_memory(file->path);
    for (uint32_t i = 0; i < n; i++) {
        struct torch_storage *s = storage_of(file, storages, i);
        uint8_t bytes[COUNT_BYTES];
        uint64_t count = 0;
        if (!s)
            return -1;
        if (s->found || s->size == 0)
            return fail("%s: storage %.*s %s", file->path, (int)s->key_n, (const char *)s->key,
                        s->found
                            ? "is listed twice"
                            : "has values of an unknown type, so those after it are not found");
        if (file->size - at < COUNT_BYTES || file->size - at - COUNT_BYTES < s->bytes)
            return fail("%s: truncated: storage %.*s does not fit", file->path, (int)s->key_n,
                        (const char *)s->key);
        if (read_at(file, bytes, COUNT_BYTES, at))
            return -1;
        for (int b = COUNT_BYTES - 1; b >= 0; b--)
            count = count << 8 | bytes[b];
        if (count != (uint64_t)s->count)
            return fail("%s: storage %.*s has %llu values at byte %lld, and the pickle says %lld",
                        file->path, (int)s->key_n, (const char *)s->key, (unsigned long long)count,
                        (long long)at, (long long)s->count);
        s->found = true;
        file->places[i] = at + COUNT_BYTES;
        at += COUNT_BYTES + s->bytes;
    }
    for (size_t i = 0; i < storages->n; i++)
        if (storages->list[i].wanted && !storages->list[i].found)
            return fail("%s: storage %.*s is not listed", file->path, (int)storages->list[i].key_n,
                        (const char *)storages->list[i].key);
    return 0;
}

int torch_legacy_read(const struct torch_legacy *file, const struct torch_storages *storages,
                      torch_storage_use *use, void *context)
{
    for (uint32_t i = 0; i < pickle_root(file->keys)->list.n; i++) {
        const struct torch_storage *s = storage_of(file, storages, i);
        if (!s)
            return -1;
        if (!s->wanted)
            continue;
        uint8_t *bytes = malloc((size_t)s->bytes + 1);
        if (!bytes)
            return fail_memory(file->path);
        const int result =
            read_at(file, bytes, (size_t)s->bytes, file->places[i]) || use(context, s, bytes) ? -1
                                                                                              : 0;
        free(bytes);
        if (result)
            return -1;
    }
    return 0;
}
