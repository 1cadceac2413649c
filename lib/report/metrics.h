/* metrics: the numbers in a training run's frames, as rows of a table. */
#ifndef METRICS_H
#define METRICS_H

#include <stdio.h>

#include "frame/frame.h"

enum { METRICS_MAX_COLUMNS = 64 };

/* Which metadata keys make a row: step, epoch, loss, accuracy, contrast_acc, contrast_entropy, lr
 * and views_per_s in this order, those that the first frame has, then whatever else it has and does
 * not merely describe the run or the link (steps, batch, seq, ...). */
struct metrics_columns {
    char *names[METRICS_MAX_COLUMNS];
    int count;
};
void metrics_columns_of(const struct frame *first, struct metrics_columns *c);
void metrics_columns_free(struct metrics_columns *c);

/* Adds to `to` the metrics of an answer: all that the request did not have, and that does not
 * merely describe the run or the link. */
void metrics_pass(struct frame *to, const struct frame *answer, const struct frame *request);

/* Writes tab-separated lines: the names; a frame's values, empty where it has none. Tabs and
 * control characters inside a value are written as spaces. Errors show in ferror(). */
void metrics_write_header(FILE *file, const struct metrics_columns *c);
void metrics_write_row(FILE *file, const struct metrics_columns *c, const struct frame *f);

/* A table that survives restarts: rows at or beyond the first new step, which a run that is resumed
 * computes again, and a last line that was cut off, are dropped first, atomically. */
struct metrics_log;

/* Opens or creates the table for rows from `first` on. -1/NULL with a message, also if the file is
 * something else (its first line does not begin with "step"): it is left alone. */
struct metrics_log *metrics_log_open(const char *path, const struct frame *first);
/* Appends a row and flushes it. */
int metrics_log_write(struct metrics_log *log, const struct frame *f);
/* Closes and frees; NULL is fine. */
int metrics_log_close(struct metrics_log *log);

#endif
