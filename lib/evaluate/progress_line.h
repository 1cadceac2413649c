/* progress_line: how a long computation says how far it is, without knowing where that is shown. */
#ifndef PROGRESS_LINE_H
#define PROGRESS_LINE_H

/* Receives a line, printf-style; each replaces the line before it. status_show() (cli/status.h),
 * which draws the line on a terminal, is one. Functions that take a `progress_line *` accept NULL
 * and then report nothing. A function calls it from one thread at a time. */
typedef void progress_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
