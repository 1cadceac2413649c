/* atomic_file: a file that appears under its name when it is whole, or not at all. */
#ifndef ATOMIC_FILE_H
#define ATOMIC_FILE_H

#include <stdio.h>

struct atomic_file {
    FILE *file; /* write here */
    char *temporary, *path;
};

/* Opens a temporary file beside path, PATH.tmp-XXXXXX, which is locked while it is written. path is
 * copied. If path exists and is no regular file, such as /dev/null or a FIFO, writes to it
 * directly. Returns -1 with a message. */
int atomic_file_open(struct atomic_file *a, const char *path);
/* Removes temporary files for this path whose writers were killed; files that are being written
 * stay. atomic_file_open() does this too. */
void atomic_file_clean(const char *path);
/* Flushes and fsyncs the temporary file and renames it to its path. Returns -1 with a message if
 * that fails: the old file then stays as it was. Frees everything in any case. */
int atomic_file_commit(struct atomic_file *a);
/* Removes the temporary file and keeps fail_message(). */
void atomic_file_abandon(struct atomic_file *a);

#endif
