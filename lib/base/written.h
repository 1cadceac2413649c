/* written: whether what was written by stdio has arrived. */
#ifndef WRITTEN_H
#define WRITTEN_H

#include <stdio.h>

/* Flushes. 0, or -1 with a message that begins with `where` if any byte since the file was opened
 * was lost; a lost one is found even if the flush itself has nothing left to do. */
int written(FILE *file, const char *where);

/* For a program that prints text: flushes stdout. 1: its reader has seen enough and is gone, which
 * is no failure; else as written(). */
int written_text(void);

#endif
