/* tar: reads the files in an archive, one after the other. The archive is a .tar, or one that is
 * compressed in any way that libarchive knows (gz, zst, xz, bz2, lz4). Nothing is written to disk,
 * so a path in an archive cannot do harm. */
#ifndef TAR_H
#define TAR_H

#include <stdbool.h>
#include <stdint.h>

struct command;
struct tar;

struct tar_entry {
    enum { TAR_FILE, TAR_HARD_LINK, TAR_SYMBOLIC_LINK, TAR_SPARSE } kind;
    const char *path; /* as the archive has it; valid until the next tar_next() */
    const char *link; /* a hard link: the path of another entry; a symbolic link: its text */
    int64_t size;     /* bytes of a file */
    int64_t offset;   /* of the bytes in the archive's file; -1: it is compressed or a pipe */
};

/* Opens a file, a FIFO, or stdin for "-". Returns NULL with a message on failure. */
struct tar *tar_open(const char *path);
/* Opens the output of a command that has just been started. The caller ends the command after
 * tar_close(). Unlike a file, such an archive must be complete: it ends with the mark that ends an
 * archive, nothing but zeros follows the mark, its compression ends properly, and then the command
 * exits with status 0. Otherwise tar_next() fails in place of TAR_END. */
struct tar *tar_open_command(struct command *c, const char *name);
void tar_close(struct tar *t); /* NULL is fine */

enum tar_result {
    TAR_FAILED = -1, /* the archive is damaged or truncated; fail_message() names it */
    TAR_END = 0,
    TAR_ENTRY = 1
};

/* Finds the next regular file or link. After a failure no further entry can be found. */
enum tar_result tar_next(struct tar *t, struct tar_entry *e);
/* Reads the first `size` bytes of the entry that was found last. Returns -1 with a message if there
 * are fewer. */
int tar_read(struct tar *t, void *out, int64_t size);
/* Reads what is left of the bytes of the entry that was found last, and adds them to *crc, a
 * CRC-32. Returns -1 with a message on failure. */
int tar_skip(struct tar *t, uint32_t *crc);

/* Returns true if the regular file is an archive, compressed or not, that contains a file or a
 * link. */
bool tar_recognize(const char *path);

#endif
