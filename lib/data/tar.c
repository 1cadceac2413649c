#include "data/tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fail.h"
#include "base/stop.h"
#include "data/command.h"

enum {
    BLOCK = 1 << 16,
    RECORD = 512, /* bytes of a header, and of the parts of the mark that ends an archive */
    /* More zeros than this after the mark are no padding; the output is treated as endless. */
    MAX_PADDING = 64 << 20,
    /* If more entries in a row than this are neither files nor links, the archive is treated as
     * endless. */
    MAX_SKIPPED = 1 << 20
};

struct tar {
    struct archive *archive;
    struct archive_entry *entry;
    char *name; /* for messages */
    int fd;
    bool regular;
    int64_t size; /* of a regular file */
    char block[BLOCK];
    /* For a command, whose output is decompressed by an archive of its own, since `archive` would
     * not read on after the mark. */
    struct command *command;
    struct archive *raw;
    const char *piece; /* what is left of the last piece that `raw` returned */
    size_t piece_size;
    char unpacked[BLOCK]; /* the last block that `archive` got; a multiple of RECORD unless it is
                             the last one */
    size_t unpacked_size;
    int64_t unpacked_at; /* where it begins */
    bool zeros_before;   /* the last RECORD before it is zeros */
};

static int damaged(struct tar *t, struct archive *archive)
{
    if (stop_check())
        return -1;
    const char *text = archive_error_string(archive);
    fail("%s: damaged archive: %s", t->name, text ? text : "unreadable");
    return t->command ? command_blame(t->command) : -1;
}

static int open_descriptor(struct tar *t, const char *path)
{
    const bool is_stdin = strcmp(path, "-") == 0;
    t->name = strdup(is_stdin ? "stdin" : path);
    if (!t->name)
        return fail_memory(path);
    t->fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (t->fd < 0 || fstat(t->fd, &st) != 0)
        return errno == EINTR && stop_check() ? -1 : fail("%s: %s", t->name, strerror(errno));
    if (S_ISDIR(st.st_mode))
        return fail("%s: a folder, not an archive", t->name);
    t->regular = S_ISREG(st.st_mode) && !is_stdin;
    t->size = st.st_size;
    return 0;
}

/* Reads a block for libarchive, whose own reader would continue to wait after a signal. */
static la_ssize_t read_block(struct archive *archive, void *user, const void **block)
{
    struct tar *t = user;
    ssize_t n = -1;
    errno = EINTR;
    while (n < 0 && errno == EINTR && !stop_check())
        n = read(t->fd, t->block, BLOCK);
    *block = t->block;
    if (n < 0)
        archive_set_error(archive, errno, "%s", strerror(errno));
    return n;
}

static la_int64_t skip(struct archive *archive, void *user, la_int64_t request)
{
    (void)archive;
    struct tar *t = user;
    const off_t at = t->regular ? lseek(t->fd, 0, SEEK_CUR) : -1;
    if (at < 0 || request <= 0 || stop_check())
        return 0; /* libarchive then reads these bytes and drops them */
    const int64_t there = t->size > at ? t->size - at : 0;
    const int64_t bytes = request < there ? request : there;
    return lseek(t->fd, bytes, SEEK_CUR) < 0 ? 0 : bytes;
}

static int open_archive(struct tar *t)
{
    t->archive = archive_read_new();
    if (!t->archive)
        return fail_memory(t->name);
    archive_read_support_filter_all(t->archive);
    archive_read_support_format_tar(t->archive);
    return archive_read_open2(t->archive, t, NULL, read_block, skip, NULL) == ARCHIVE_OK
               ? 0
               : damaged(t, t->archive);
}

struct tar *tar_open(const char *path)
{
    struct tar *t = calloc(1, sizeof *t);
    if (t)
        t->fd = -1;
    if (!t)
        fail_memory(path);
    else if (open_descriptor(t, path) == 0 && open_archive(t) == 0)
        return t;
    tar_close(t);
    return NULL;
}

/* ---- the output of a command ---- */

/* Reads a block of the output for `raw`. */
static la_ssize_t read_output(struct archive *archive, void *user, const void **block)
{
    struct tar *t = user;
    const ssize_t n = command_read(t->command, t->block, BLOCK);
    *block = t->block;
    if (n < 0)
        archive_set_error(archive, EIO, "%s", fail_message());
    return n;
}

static bool is_zero(const char *bytes, size_t n)
{
    return n == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, n - 1) == 0);
}

/* Gets the next piece of the decompressed output; *size is 0 at its end. Returns -1 with a message
 * on failure. */
static int next_piece(struct tar *t, const char **piece, size_t *size)
{
    const void *bytes;
    la_int64_t offset;
    for (*size = 0; *size == 0; *piece = bytes) {
        const int result = archive_read_data_block(t->raw, &bytes, size, &offset);
        if (result == ARCHIVE_EOF) {
            *size = 0;
            return 0;
        }
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return -1;
    }
    return 0;
}

/* Moves what fits of the piece to the block, and makes the block a multiple of RECORD if there is
 * enough for that. */
static void take_piece(struct tar *t)
{
    const size_t room = BLOCK - t->unpacked_size;
    size_t n = t->piece_size < room ? t->piece_size : room;
    memcpy(t->unpacked + t->unpacked_size, t->piece, n);
    if (t->unpacked_size + n >= RECORD)
        n -= (t->unpacked_size + n) % RECORD;
    t->unpacked_size += n;
    t->piece += n;
    t->piece_size -= n;
}

/* Gets a block for `archive`, without waiting for more than is there. */
static la_ssize_t read_unpacked(struct archive *archive, void *user, const void **block)
{
    struct tar *t = user;
    const size_t before = t->unpacked_size;
    if (before)
        t->zeros_before = before % RECORD == 0 && is_zero(t->unpacked + before - RECORD, RECORD);
    t->unpacked_at += (int64_t)before;
    t->unpacked_size = 0;
    while (t->unpacked_size < RECORD) {
        if (t->piece_size == 0 && next_piece(t, &t->piece, &t->piece_size)) {
            const char *text = archive_error_string(t->raw);
            archive_set_error(archive, EIO, "%s", text ? text : "unreadable");
            return -1;
        }
        if (t->piece_size == 0)
            break;
        take_piece(t);
    }
    *block = t->unpacked;
    return (la_ssize_t)t->unpacked_size;
}

/* Reads what follows the mark, up to the end of the output. Only padding may follow it. */
static int read_padding(struct tar *t, int64_t used)
{
    int64_t padding = 0;
    const char *bytes = t->unpacked + used;
    size_t n = t->unpacked_size - (size_t)used;
    while (is_zero(bytes, n) && padding <= MAX_PADDING) {
        padding += (int64_t)n;
        if (t->piece_size == 0 && next_piece(t, &t->piece, &t->piece_size))
            return damaged(t, t->raw);
        if (t->piece_size == 0)
            return 0;
        bytes = t->piece;
        n = t->piece_size;
        t->piece_size = 0;
    }
    if (padding > MAX_PADDING)
        return fail("%s: zeros without end follow the archive", t->name);
    return fail("%s: bytes follow the end of the archive (each archive needs a command of its own, "
                "as exec:cat {a,b}.tar has)",
                t->name);
}

/* Checks that an archive has ended with its mark, and the command with status 0. libarchive also
 * reports an end where the output breaks off between two entries, or after the header that extends
 * an entry's. */
static enum tar_result end_of_output(struct tar *t)
{
    const int64_t end = archive_filter_bytes(t->archive, 0), used = end - t->unpacked_at;
    const bool zeros = used >= RECORD ? is_zero(t->unpacked + used - RECORD, RECORD)
                                      : used == 0 && t->zeros_before;
    if (end - archive_read_header_position(t->archive) < RECORD || !zeros) {
        fail("%s: the archive breaks off, without the zeros that end it", t->name);
        command_blame(t->command);
        return TAR_FAILED;
    }
    return read_padding(t, used) || command_finish(t->command) ? TAR_FAILED : TAR_END;
}

static int open_output(struct tar *t)
{
    char first;
    const ssize_t n = command_peek(t->command, &first, 1);
    if (n <= 0) {
        if (n == 0) {
            command_ended(t->command);
            fail("%s: delivered nothing", t->name);
        }
        return command_blame(t->command);
    }
    t->raw = archive_read_new();
    if (!t->raw)
        return fail_memory(t->name);
    struct archive_entry *all;
    archive_read_support_filter_all(t->raw);
    archive_read_support_format_raw(t->raw);
    if (archive_read_open2(t->raw, t, NULL, read_output, NULL, NULL) != ARCHIVE_OK ||
        archive_read_next_header(t->raw, &all) != ARCHIVE_OK)
        return damaged(t, t->raw);
    t->archive = archive_read_new();
    if (!t->archive)
        return fail_memory(t->name);
    archive_read_support_format_tar(t->archive);
    return archive_read_open2(t->archive, t, NULL, read_unpacked, NULL, NULL) == ARCHIVE_OK
               ? 0
               : damaged(t, t->archive);
}

struct tar *tar_open_command(struct command *c, const char *name)
{
    struct tar *t = calloc(1, sizeof *t);
    if (t) {
        t->fd = -1;
        t->command = c;
        t->name = strdup(name);
    }
    if (!t || !t->name)
        fail_memory(name);
    else if (open_output(t) == 0)
        return t;
    tar_close(t);
    return NULL;
}

/* ---- entries ---- */

void tar_close(struct tar *t)
{
    if (!t)
        return;
    if (t->archive)
        archive_read_free(t->archive);
    if (t->raw)
        archive_read_free(t->raw);
    if (t->fd >= 0)
        close(t->fd);
    free(t->name);
    free(t);
}

/* Sets the kind of the entry. Returns false if an entry of this kind cannot hold an image. */
static bool take_kind(struct archive_entry *from, struct tar_entry *e)
{
    *e = (struct tar_entry){.offset = -1};
    if ((e->link = archive_entry_hardlink(from)))
        e->kind = TAR_HARD_LINK;
    else if (archive_entry_filetype(from) == AE_IFLNK && (e->link = archive_entry_symlink(from)))
        e->kind = TAR_SYMBOLIC_LINK;
    else if (archive_entry_filetype(from) != AE_IFREG)
        return false;
    else if (!archive_entry_size_is_set(from) || archive_entry_sparse_count(from) > 0)
        e->kind = TAR_SPARSE;
    return true;
}

enum tar_result tar_next(struct tar *t, struct tar_entry *e)
{
    for (int i = 0; i < MAX_SKIPPED; i++) {
        const int result = archive_read_next_header(t->archive, &t->entry);
        if (result == ARCHIVE_EOF)
            return t->command ? end_of_output(t) : TAR_END;
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
            damaged(t, t->archive);
            return TAR_FAILED;
        }
        const char *path = archive_entry_pathname(t->entry);
        if (!path) /* the path cannot be written in this locale's encoding */
            path = archive_entry_pathname_utf8(t->entry);
        if (!path || !take_kind(t->entry, e))
            continue;
        e->path = path;
        if (e->kind != TAR_FILE)
            return TAR_ENTRY;
        e->size = archive_entry_size(t->entry);
        if (t->regular && archive_filter_code(t->archive, 0) == ARCHIVE_FILTER_NONE)
            e->offset = archive_filter_bytes(t->archive, 0);
        return TAR_ENTRY;
    }
    fail("%s: %d entries in a row are no files", t->name, MAX_SKIPPED);
    return TAR_FAILED;
}

int tar_read(struct tar *t, void *out, int64_t size)
{
    int64_t done = 0;
    while (done < size) {
        const la_ssize_t n =
            archive_read_data(t->archive, (char *)out + done, (size_t)(size - done));
        if (n < 0)
            return damaged(t, t->archive);
        if (n == 0)
            return fail("%s: damaged archive: an entry ends early", t->name);
        done += n;
    }
    return 0;
}

int tar_skip(struct tar *t, uint32_t *crc)
{
    const void *bytes;
    size_t n;
    la_int64_t offset;
    for (;;) {
        const int result = archive_read_data_block(t->archive, &bytes, &n, &offset);
        if (result == ARCHIVE_EOF)
            return 0;
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return damaged(t, t->archive);
        if (n)
            *crc = (uint32_t)crc32_z(*crc, bytes, n);
    }
}

bool tar_recognize(const char *path)
{
    struct tar *t = tar_open(path);
    struct tar_entry e;
    const bool yes = t && tar_next(t, &e) == TAR_ENTRY;
    tar_close(t);
    return yes;
}
