/* regular_file: opens and reads regular files. It refuses devices, FIFOs and folders, on which a
 * read could block or never end. */
#ifndef REGULAR_FILE_H
#define REGULAR_FILE_H

#include <stdint.h>

/* Opens a regular file for reading and returns a descriptor, which the caller closes. Sets *size to
 * the file's length in bytes, unless size is NULL. Returns -1 with a message that names the file.
 */
int regular_file_open(const char *path, int64_t *size);

/* Reads a whole file of at most `largest` bytes into *text, which is zero-terminated and which the
 * caller frees. On failure returns -1 with a message and sets *text to NULL. */
int regular_file_text(const char *path, int64_t largest, char **text);

#endif
