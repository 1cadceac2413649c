/* log_tail: shows what processes wrote to a log after a certain time. */
#ifndef LOG_TAIL_H
#define LOG_TAIL_H

#include <stdint.h>

/* Returns the size of the file in bytes, or 0 if it does not exist. */
int64_t log_tail_size(const char *path);

/* Prints on stderr the first `lines` lines that follow byte `from` of the file, each after two
 * blanks and with '?' in place of control characters. Leaves out two kinds of lines: those about
 * traffic, and those about peers that did not identify themselves, because such peers are the
 * processes that the failure ended. Prints nothing if the file cannot be read. */
void log_tail_show(const char *path, int64_t from, int lines);

#endif
