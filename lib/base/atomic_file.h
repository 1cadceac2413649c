/* atomic_file: a file that appears whole or not at all. */
#ifndef ATOMIC_FILE_H
#define ATOMIC_FILE_H

#include <stdio.h>

struct atomic_file {
    FILE *file; /* write here */
    char *temporary, *path;
};

/* A temporary file beside path, PATH.tmp-XXXXXX, locked while it is written. path is copied. What
 * is no regular file, such as /dev/null or a FIFO, is written to as it is. -1 with a message. */
int atomic_file_open(struct atomic_file *a, const char *path);
/* Removes temporary files for this path whose writers were killed; those that are being written
 * stay. atomic_file_open() does it too. */
void atomic_file_clean(const char *path);
/* Flushes, fsyncs and renames the file to its path; the old one stays whole if that fails. Frees
 * everything in any case. */
int atomic_file_commit(struct atomic_file *a);
/* Removes the temporary file and keeps fail_message(). */
void atomic_file_abandon(struct atomic_file *a);

#endif
