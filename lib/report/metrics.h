/* metrics: selects the metrics among the metadata of a training run's frames, and writes them as a
 * table. */
#ifndef METRICS_H
#define METRICS_H

#include <stdbool.h>
#include <stdio.h>

#include "frame/frame.h"

enum { METRICS_MAX_COLUMNS = 64 };

/* Goes over the metrics of a frame: first step, epoch, loss, accuracy, contrast_acc,
 * contrast_entropy, z_std, alignment, grad_norm, lr and views_per_s, in this order, then its other
 * keys in theirs, except those that describe the run or the link (steps, batch, seq, ...). *at
 * starts as 0 and is the function's own. Returns NULL after the last. */
const struct meta *metrics_next(const struct frame *f, int *at);

/* Returns true and sets *number if the text is a decimal number, nan or an infinity. */
bool metrics_number(const char *text, double *number);

/* Metadata keys, one for each column of a table. Initialize it with {0}; metrics_columns_free()
 * frees it. */
struct metrics_columns {
    char *names[METRICS_MAX_COLUMNS];
    int count;
};

/* Sets *c to the columns for a stream that begins with this frame: the keys of metrics_next(). */
void metrics_columns_of(const struct frame *first, struct metrics_columns *c);
/* Appends a copy of the name. Does nothing if there are METRICS_MAX_COLUMNS, or memory is out. */
void metrics_columns_add(struct metrics_columns *c, const char *name);
void metrics_columns_free(struct metrics_columns *c); /* leaves it empty */

/* Copies to `to` the metrics of a reply: its keys that the request does not have, except those that
 * describe the run or the link. */
void metrics_pass(struct frame *to, const struct frame *reply, const struct frame *request);

/* Write a line of tab-separated values: the column names, or a frame's values, which are empty for
 * a key that the frame does not have. Control characters within a value, including tabs, become
 * blanks. The caller detects write errors with ferror(). */
void metrics_write_header(FILE *file, const struct metrics_columns *c);
void metrics_write_row(FILE *file, const struct metrics_columns *c, const struct frame *f);

#endif
