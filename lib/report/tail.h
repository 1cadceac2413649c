/* tail: what was written to a log after some time. */
#ifndef TAIL_H
#define TAIL_H

#include <stdint.h>

/* The file's size; 0 if it is not there. */
int64_t tail_size(const char *path);

/* Prints on stderr the first `lines` lines that the file has after byte `from`, each with two
 * blanks before it and without control characters. Left out are lines about edges, and about peers
 * that did not say who they are: those are the processes that the failure ended. */
void tail_show(const char *path, int64_t from, int lines);

#endif
