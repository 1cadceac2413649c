/* metrics_log: the metrics of a run in a file, with one row for each step. It stays correct when the
 * run is restarted.
 *
 * A file whose name ends in .jsonl has a JSON object on each line (metrics_json.h), with all metrics
 * of its frame. Any other file is a table of tab-separated values, whose columns are those of the
 * first frame.
 *
 * A run that is resumed computes some steps again. Opening the log therefore drops the old rows of
 * these steps, and a last line that is incomplete. The file is replaced atomically. */
#ifndef METRICS_LOG_H
#define METRICS_LOG_H

#include "frame/frame.h"

/* A log that is being written. */
struct metrics_log;

/* Opens or creates the log at `path`, for rows from the step of the frame `first` on. If old rows of
 * a table are kept, their columns are kept too, and new rows use these. Otherwise the columns are
 * those of `first` (metrics_columns_of()). Returns NULL with a message if the file cannot be
 * written, or if it is not such a log, that is, if the first line does not begin with "step", or is
 * no JSON object with an integer `step`; such a file is not changed. */
struct metrics_log *metrics_log_open(const char *path, const struct frame *first);

/* Appends a row and flushes it. Returns -1 with a message. */
int metrics_log_write(struct metrics_log *log, const struct frame *f);

/* Closes the file and frees the log, which may be NULL. Returns -1 with a message if rows may be
 * lost and no earlier call has reported it. */
int metrics_log_close(struct metrics_log *log);

#endif
