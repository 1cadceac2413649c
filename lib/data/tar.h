/* tar: the files in an archive, one after the other: .tar, or compressed with whatever libarchive
 * knows (gz, zst, xz, bz2, lz4). Nothing is ever written to disk, so names are only names. */
#ifndef TAR_H
#define TAR_H

#include <stdbool.h>
#include <stdint.h>

struct tar;

struct tar_entry {
    enum { TAR_FILE, TAR_HARD_LINK, TAR_SYMBOLIC_LINK, TAR_SPARSE } kind;
    const char *path; /* as it stands in the archive; valid until the next tar_next() */
    const char *link; /* of a link: the path of another entry, or what the symbolic one holds */
    int64_t size;
    int64_t offset; /* where its bytes begin in the file, or -1: compressed, or a pipe */
};

/* Opens a file, a FIFO, or "-", stdin. NULL with a message. */
struct tar *tar_open(const char *path);
void tar_close(struct tar *t); /* NULL is fine */

/* The next regular file or link: 1, or 0 at the end of the archive, or -1 with a message that names
 * the archive: damaged or truncated, and no further entry can be found. */
int tar_next(struct tar *t, struct tar_entry *e);
/* Reads the present entry's `size` bytes, all of them. -1 with a message. */
int tar_read(struct tar *t, void *out, int64_t size);

/* Is that regular file an archive with a file or a link in it, compressed or not? */
bool tar_recognize(const char *path);

#endif
