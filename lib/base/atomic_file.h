/* atomic_file: writes a file that appears under its name only when it is complete. */
#ifndef ATOMIC_FILE_H
#define ATOMIC_FILE_H

#include <stdio.h>

/* A file that is being written. The caller uses only `file`. */
struct atomic_file {
    FILE *file; /* the caller writes to this stream */
    char *temporary, *path;
};

/* Opens a temporary file named PATH.tmp-XXXXXX beside path, and holds a lock on it until it is
 * committed or abandoned. Copies path. If path exists and is not a regular file (a FIFO or
 * /dev/null, for example), the caller writes to it directly. Returns -1 with a message. */
int atomic_file_open(struct atomic_file *a, const char *path);
/* Removes temporary files for this path whose writers were killed. Files that are still being
 * written stay. atomic_file_open() does this too. */
void atomic_file_clean(const char *path);
/* Flushes and fsyncs the temporary file and renames it to its path. Returns -1 with a message if
 * that fails; the old file then stays as it was. Frees everything in either case. */
int atomic_file_commit(struct atomic_file *a);
/* Removes the temporary file. It leaves fail_message() as it was. */
void atomic_file_abandon(struct atomic_file *a);

#endif
