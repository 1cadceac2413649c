/* path: operations on paths, and on the files at them. */
#ifndef PATH_H
#define PATH_H

#include <stdbool.h>
#include <stddef.h>

/* Return true if there is a folder, or a regular file, at the path; links are followed. */
bool path_is_folder(const char *path);
bool path_is_file(const char *path);

/* Returns FOLDER/NAME with one slash between them. The text belongs to the caller. An empty folder
 * means the current one and gets no slash. Returns NULL with a message on failure. */
char *path_join(const char *folder, const char *name);

/* Returns the path of the first file in a folder, in byte order, for whose name `fits` returns
 * true. The text belongs to the caller. Skips names that begin with a dot. Returns NULL, without a
 * message, if there is none. */
char *path_find_file(const char *folder, bool (*fits)(const char *name));

/* Copies the first n bytes of a file, or of stdin if the path is "-", without consuming them; waits
 * for the bytes of a pipe. Returns the number of bytes, which is less than n at the end. Returns 0
 * if this is impossible, as for a FIFO that has a name. */
size_t path_peek(const char *path, void *bytes, size_t n);

/* Rewrites a relative path in place without "./", "..", doubled slashes, and slashes at either end.
 * Returns false if the path led above its root; it then stays at the root. */
bool path_normalize(char *path);

#endif
