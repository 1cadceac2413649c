/* regular_file: files that are data, not devices, FIFOs or folders, which could block or never end.
 */
#ifndef REGULAR_FILE_H
#define REGULAR_FILE_H

#include <stdint.h>

/* Opens a regular file for reading; the descriptor is the caller's. *size, unless NULL, gets its
 * bytes. -1 with a message that names the file. */
int regular_file_open(const char *path, int64_t *size);

/* Reads a whole one of at most `largest` bytes; the text is the caller's. -1 with a message. */
int regular_file_text(const char *path, int64_t largest, char **text);

#endif
