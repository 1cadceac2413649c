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

#include "base/fail.h"
#include "base/stop.h"

enum {
    BLOCK = 1 << 16,
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
};

static int damaged(struct tar *t)
{
    if (stop_check())
        return -1;
    const char *text = archive_error_string(t->archive);
    return fail("%s: damaged archive: %s", t->name, text ? text : "unreadable");
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
               : damaged(t);
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

void tar_close(struct tar *t)
{
    if (!t)
        return;
    if (t->archive)
        archive_read_free(t->archive);
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
            return TAR_END;
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN) {
            damaged(t);
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
            return damaged(t);
        if (n == 0)
            return fail("%s: damaged archive: an entry ends early", t->name);
        done += n;
    }
    return 0;
}

bool tar_recognize(const char *path)
{
    struct tar *t = tar_open(path);
    struct tar_entry e;
    const bool yes = t && tar_next(t, &e) == TAR_ENTRY;
    tar_close(t);
    return yes;
}
