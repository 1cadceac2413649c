/* metrics_json: metrics as lines of JSON. */
#ifndef METRICS_JSON_H
#define METRICS_JSON_H

#include <stdbool.h>
#include <stdio.h>

#include "frame/frame.h"

/* Writes the metrics of a frame (metrics_next()) as an object on a line of its own, with `step`
 * first. A value that is a number is written as one, with the same digits where JSON allows them.
 * JSON has no numbers that are not finite: they become null. Any other value becomes a string.
 * Returns -1 with a message if a text is not UTF-8; the caller detects write errors with ferror().
 */
int metrics_json_write(FILE *file, const struct frame *f);

/* Returns true and sets *step if the line is a whole object with an integer `step`. */
bool metrics_json_step(const char *line, int64_t *step);

/* Returns true if the text may be the beginning of a line that metrics_json_write() wrote. */
bool metrics_json_is_begun(const char *text);

#endif
