/* flush: whether all that a program wrote through stdio has arrived. */
#ifndef FLUSH_H
#define FLUSH_H

#include <stdio.h>

/* Flushes the file. Returns -1 with a message that begins with `where` if any byte since the file
 * was opened was lost, even one that an earlier write lost. */
int flush_file(FILE *file, const char *where);

enum flush_result {
    FLUSH_FAILED = -1, /* fail_message() says why */
    FLUSH_DONE = 0,
    FLUSH_READER_GONE = 1 /* the reader of a pipe closed it: it has seen enough, so no failure */
};

/* Flushes stdout, for a program that prints text. */
enum flush_result flush_stdout(void);

#endif
