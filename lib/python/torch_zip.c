#include "python/torch_zip.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/regular_file.h"

enum {
    BLOCK = 1 << 16,
    MAX_PICKLE = 64 << 20,
    MAX_RATIO = 1032 /* of deflate: one byte of a file becomes at most 1032 bytes */
};

struct reader {
    const char *path;
    int fd;
    struct archive *archive;
    struct archive_entry *entry;
    locale_t utf8, before; /* (locale_t)0: none */
};

static int damaged(const struct reader *r)
{
    const char *text = archive_error_string(r->archive);
    return fail("%s: damaged zip archive: %s", r->path, text ? text : "unreadable");
}

static int reader_open(struct reader *r, const char *path, int64_t *size)
{
    *r = (struct reader){.path = path, .fd = regular_file_open(path, size)};
    if (r->fd < 0)
        return -1;
    /* libarchive turns names into the locale's encoding, and loses those that have none there. */
    r->utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (r->utf8)
        r->before = uselocale(r->utf8);
    r->archive = archive_read_new();
    if (!r->archive)
        return fail_memory(path);
    archive_read_support_format_zip_seekable(r->archive);
    return archive_read_open_fd(r->archive, r->fd, BLOCK) == ARCHIVE_OK ? 0 : damaged(r);
}

static void reader_close(struct reader *r)
{
    archive_read_free(r->archive);
    if (r->utf8) {
        uselocale(r->before);
        freelocale(r->utf8);
    }
    if (r->fd >= 0)
        close(r->fd);
}

/* Finds the next entry. Returns 1 and its name, 0 at the end, or -1 with a message. */
static int reader_next(struct reader *r, const char **name)
{
    for (;;) {
        const int result = archive_read_next_header(r->archive, &r->entry);
        if (result == ARCHIVE_EOF)
            return 0;
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return damaged(r);
        *name = archive_entry_pathname(r->entry);
        if (!*name) /* it cannot be written in this locale's encoding */
            *name = archive_entry_pathname_utf8(r->entry);
        if (*name)
            return 1;
    }
}

/* Reads the whole entry, which must have `size` bytes, so that its CRC-32 is checked as well. */
static int read_entry(struct reader *r, const char *name, uint8_t *bytes, size_t size)
{
    size_t done = 0;
    for (;;) {
        uint8_t more;
        const la_ssize_t n = archive_read_data(r->archive, done < size ? bytes + done : &more,
                                               done < size ? size - done : 1);
        if (n < 0)
            return damaged(r);
        if (n == 0)
            break;
        if (done == size)
            return fail("%s: %s has more than %zu bytes", r->path, name, size);
        done += (size_t)n;
    }
    return done == size ? 0 : fail("%s: %s ends after %zu of %zu bytes", r->path, name, done, size);
}

/* ---- the pickle ---- */

static int read_pickle(struct torch_zip *zip, struct reader *r, const char *name)
{
    if (zip->pickle)
        return fail("%s: it holds two data.pkl", zip->path);
    const int64_t size = archive_entry_size(r->entry);
    if (!archive_entry_size_is_set(r->entry) || size < 0 || size > MAX_PICKLE)
        return fail("%s: %s has more than %d MiB", zip->path, name, MAX_PICKLE >> 20);
    zip->pickle = malloc((size_t)size + 1);
    zip->prefix = strndup(name, (size_t)(strchr(name, '/') - name) + 1);
    if (!zip->pickle || !zip->prefix)
        return fail_memory(zip->path);
    zip->pickle_n = (size_t)size;
    return read_entry(r, name, zip->pickle, zip->pickle_n);
}

static int check_byte_order(const struct torch_zip *zip, struct reader *r, const char *name)
{
    static const char little[] = "little";
    char text[sizeof little];
    const int64_t size = archive_entry_size(r->entry);
    if (size == sizeof little - 1 && read_entry(r, name, (uint8_t *)text, sizeof little - 1))
        return -1;
    return size == sizeof little - 1 && memcmp(text, little, sizeof little - 1) == 0
               ? 0
               : fail("%s: it was written on a big-endian machine; save it again on another",
                      zip->path);
}

/* Handles an entry that is not a storage. */
static int look_at_entry(struct torch_zip *zip, struct reader *r, const char *name)
{
    const char *slash = strchr(name, '/');
    if (!slash)
        return 0;
    if (strcmp(slash, "/constants.pkl") == 0)
        return fail("%s: a program of TorchScript; save its state_dict() with torch.save()",
                    zip->path);
    if (strcmp(slash, "/data.pkl") == 0)
        return read_pickle(zip, r, name);
    return strcmp(slash, "/byteorder") == 0 ? check_byte_order(zip, r, name) : 0;
}

int torch_zip_open(struct torch_zip *zip, const char *path)
{
    *zip = (struct torch_zip){.path = path};
    struct reader r;
    const char *name = NULL;
    int result = reader_open(&r, path, &zip->size), found = 0;
    while (result == 0 && (found = reader_next(&r, &name)) == 1)
        result = look_at_entry(zip, &r, name);
    result = found < 0 ? -1 : result;
    reader_close(&r);
    if (result == 0 && !zip->pickle)
        return fail("%s: a zip archive without data.pkl, so not of torch.save()", path);
    return result;
}

void torch_zip_close(struct torch_zip *zip)
{
    free(zip->pickle);
    free(zip->prefix);
    *zip = (struct torch_zip){0};
}

/* ---- storages ---- */

static struct torch_storage *storage_of(const struct torch_zip *zip,
                                        const struct torch_storages *storages, const char *name)
{
    static const char folder[] = "data/";
    const size_t n = strlen(zip->prefix);
    if (strncmp(name, zip->prefix, n) != 0 || strncmp(name + n, folder, sizeof folder - 1) != 0)
        return NULL;
    const char *key = name + n + sizeof folder - 1;
    struct torch_storage *s = torch_storages_find(storages, key, strlen(key));
    return s && s->wanted ? s : NULL;
}

static int read_storage(const struct torch_zip *zip, struct reader *r, const char *name,
                        struct torch_storage *s, torch_storage_use *use, void *context)
{
    if (s->found)
        return fail("%s: it holds two %s", zip->path, name);
    s->found = true;
    const int64_t size = archive_entry_size(r->entry);
    if (!archive_entry_size_is_set(r->entry) || size != s->bytes)
        return fail("%s: %s has %lld bytes, and data.pkl says %lld", zip->path, name,
                    (long long)size, (long long)s->bytes);
    uint8_t *bytes = malloc((size_t)size + 1);
    if (!bytes)
        return fail("%s: out of memory for %s of %lld bytes", zip->path, name, (long long)size);
    const int result = read_entry(r, name, bytes, (size_t)size) || use(context, s, bytes) ? -1 : 0;
    free(bytes);
    return result;
}

int torch_zip_check(const struct torch_zip *zip, const struct torch_storages *storages)
{
    int64_t room = zip->size < INT64_MAX / MAX_RATIO ? zip->size * MAX_RATIO : INT64_MAX;
    for (size_t i = 0; i < storages->n; i++) {
        const struct torch_storage *s = &storages->list[i];
        if (s->wanted && s->bytes > room)
            return fail("%s: storage %.*s has %lld bytes, more than the file can hold", zip->path,
                        (int)s->key_n, (const char *)s->key, (long long)s->bytes);
        room -= s->wanted ? s->bytes : 0;
    }
    return 0;
}

int torch_zip_read(const struct torch_zip *zip, const struct torch_storages *storages,
                   torch_storage_use *use, void *context)
{
    struct reader r;
    const char *name = NULL;
    int64_t size;
    int result = reader_open(&r, zip->path, &size), found = 0;
    while (result == 0 && (found = reader_next(&r, &name)) == 1) {
        struct torch_storage *s = storage_of(zip, storages, name);
        result = s ? read_storage(zip, &r, name, s, use, context) : 0;
    }
    result = found < 0 ? -1 : result;
    reader_close(&r);
    for (size_t i = 0; i < storages->n && result == 0; i++) {
        const struct torch_storage *s = &storages->list[i];
        if (s->wanted && !s->found && s->bytes > 0)
            result =
                fail("%s: it has no data/%.*s", zip->path, (int)s->key_n, (const char *)s->key);
    }
    return result;
}
