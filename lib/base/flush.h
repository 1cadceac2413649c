/* flush: checks that everything a program wrote through stdio has arrived. */
#ifndef FLUSH_H
#define FLUSH_H

#include <stdio.h>

/* Flushes the file. Returns -1 with a message that begins with `where` if any byte written since
 * the file was opened is lost, even if an earlier write lost it. */
int flush_file(FILE *file, const char *where);

enum flush_result {
    FLUSH_FAILED = -1, /* fail_message() says why */
    FLUSH_DONE = 0,
    FLUSH_READER_GONE = 1 /* the reader closed the pipe because it needs no more: not a failure */
};

/* Flushes stdout; for programs that print text. */
enum flush_result flush_stdout(void);

#endif
