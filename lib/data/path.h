/* path: paths as texts, and what is at a path. */
#ifndef PATH_H
#define PATH_H

#include <stdbool.h>
#include <stddef.h>

/* Returns true if there is a folder, or a regular file, at the path; links are followed. */
bool path_is_folder(const char *path);
bool path_is_file(const char *path);

/* FOLDER/NAME, with one slash between them; the text is the caller's. An empty folder means the
 * current one and gets no slash. Returns NULL with a message. */
char *path_join(const char *folder, const char *name);

/* The path of the first file of a folder, in the order of bytes, for whose name `fits` returns
 * true; the text is the caller's. Names that begin with a dot are left out. Returns NULL, without a
 * message, if there is none. */
char *path_find_file(const char *folder, bool (*fits)(const char *name));

/* Copies the first n bytes of a file, or of stdin if the path is "-", without taking them away; of
 * a pipe it waits for them. Returns how many there are, which is less than n at the end, and 0 if
 * this is not possible, as of a FIFO that has a name. */
size_t path_peek(const char *path, void *bytes, size_t n);

/* Rewrites a relative path, in place, without "./", "..", doubled slashes and those at either end.
 * Returns false if it led above its root, where it now stays. */
bool path_normalize(char *path);

#endif
