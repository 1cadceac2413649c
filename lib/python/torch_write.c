#include "python/torch_write.h"

#include <archive.h>
#include <archive_entry.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/fail.h"

/* ---- the pickle ----
 * Opcodes are those of Lib/pickletools.py. A global is 'c', its module and its name; MARK ... 't' is
 * a tuple; callable, arguments, 'R' is a call. */

static const char *const storages[DTYPE_COUNT] = {
    [DTYPE_F32] = "FloatStorage", [DTYPE_BF16] = "BFloat16Storage", [DTYPE_F16] = "HalfStorage",
    [DTYPE_U8] = "ByteStorage",   [DTYPE_I32] = "IntStorage",       [DTYPE_I64] = "LongStorage"};

/* Writes the n lowest bytes of a number, the lowest first. */
static void put_bytes(FILE *f, uint64_t value, int n)
{
    for (int i = 0; i < n; i++)
        putc((int)(value >> 8 * i & 0xff), f);
}

static void put_text(FILE *f, const char *text) /* BINUNICODE */
{
    putc('X', f);
    put_bytes(f, strlen(text), 4);
    fputs(text, f);
}

/* Writes a number that is not negative: BININT if it fits 31 bits, else LONG1 of 8 bytes. */
static void put_number(FILE *f, int64_t value)
{
    if (value <= INT32_MAX) {
        putc('J', f);
        put_bytes(f, (uint64_t)value, 4);
    } else {
        fputs("\x8a\x08", f);
        put_bytes(f, (uint64_t)value, 8);
    }
}

static void put_ordered_dict(FILE *f) /* GLOBAL, EMPTY_TUPLE, REDUCE: an empty one */
{
    fputs("ccollections\nOrderedDict\n)R", f);
}

/* Writes a call of _rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks). The
 * storage is a persistent id: ("storage", type, member, device, number of elements). */
static void put_tensor(FILE *f, const struct tensor *t, int number)
{
    char member[16];
    snprintf(member, sizeof member, "%d", number);
    fputs("ctorch._utils\n_rebuild_tensor_v2\n((", f);
    put_text(f, "storage");
    fprintf(f, "ctorch\n%s\n", storages[t->dtype]);
    put_text(f, member);
    put_text(f, "cpu");
    put_number(f, (int64_t)tensor_count(t));
    fputs("tQ", f);
    put_number(f, 0);
    putc('(', f);
    for (int i = 0; i < t->ndim; i++)
        put_number(f, t->shape[i]);
    fputs("t(", f);
    for (int i = 0; i < t->ndim; i++) {
        int64_t stride = 1;
        for (int j = i + 1; j < t->ndim; j++)
            stride *= t->shape[j] ? t->shape[j] : 1;
        put_number(f, stride);
    }
    fputs("t\x89", f); /* end of the tuple, False */
    put_ordered_dict(f);
    fputs("tR", f);
}

/* Makes the pickle in memory, which the caller frees. Returns NULL with a message if memory is
 * out. */
static char *make_pickle(const struct tensor *tensors, int n, size_t *size)
{
    char *pickle = NULL;
    FILE *f = open_memstream(&pickle, size);
    if (f) {
        fputs("\x80\x02", f);
        put_ordered_dict(f);
        putc('(', f);
        for (int i = 0; i < n; i++) {
            put_text(f, tensors[i].name);
            put_tensor(f, &tensors[i], i);
        }
        fputs("u.", f); /* SETITEMS, STOP */
        const int bad = ferror(f);
        if (!fclose(f) && !bad)
            return pickle;
    }
    free(pickle);
    fail_memory(NULL);
    return NULL;
}

/* ---- the archive ---- */

/* Adds a member of that name and `size` bytes. Returns -1; archive_error_string() says why. */
static int add_member(struct archive *a, const char *name, const void *bytes, size_t size)
{
    struct archive_entry *entry = archive_entry_new2(a);
    if (!entry)
        return -1;
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (int64_t)size);
    int bad = archive_write_header(a, entry) != ARCHIVE_OK;
    archive_entry_free(entry);
    for (size_t at = 0; at < size && !bad;) {
        const ssize_t n = archive_write_data(a, (const char *)bytes + at, size - at);
        bad = n <= 0;
        at += bad ? 0 : (size_t)n;
    }
    return bad ? -1 : 0;
}

static int add_members(struct archive *a, const struct tensor *tensors, int n, const char *pickle,
                       size_t size)
{
    int bad = add_member(a, "archive/data.pkl", pickle, size) ||
              add_member(a, "archive/byteorder", "little", 6);
    for (int i = 0; i < n && !bad; i++) {
        char name[32];
        snprintf(name, sizeof name, "archive/data/%d", i);
        bad = add_member(a, name, tensors[i].data, tensors[i].bytes);
    }
    return bad || add_member(a, "archive/version", "3\n", 2) ? -1 : 0;
}

/* Writes the archive to an open file. Returns -1 with a message. */
static int write_archive(FILE *file, const struct tensor *tensors, int n, const char *pickle,
                         size_t size, const char *path)
{
    struct archive *a = archive_write_new();
    if (!a)
        return fail_memory(path);
    int bad = archive_write_set_format_zip(a) != ARCHIVE_OK ||
              archive_write_zip_set_compression_store(a) != ARCHIVE_OK ||
              archive_write_set_bytes_in_last_block(a, 1) != ARCHIVE_OK ||
              archive_write_open_FILE(a, file) != ARCHIVE_OK ||
              add_members(a, tensors, n, pickle, size) || archive_write_close(a) != ARCHIVE_OK;
    if (bad) /* for an error of the file, libarchive's text says no more than "Write error" */
        fail("%s: %s", path,
             archive_errno(a) > 0 ? strerror(archive_errno(a)) : archive_error_string(a));
    archive_write_free(a);
    return bad ? -1 : 0;
}

int torch_write(const struct tensor *tensors, int n, const char *path)
{
    size_t size;
    char *pickle = make_pickle(tensors, n, &size);
    struct atomic_file file;
    if (!pickle || atomic_file_open(&file, path)) {
        free(pickle);
        return -1;
    }
    int bad = write_archive(file.file, tensors, n, pickle, size, path);
    if (bad)
        atomic_file_abandon(&file);
    else
        bad = atomic_file_commit(&file);
    free(pickle);
    return bad;
}
