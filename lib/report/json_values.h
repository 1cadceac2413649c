/* json_values: turns files and frames into JSON for a page (page.h).
 *
 * Bytes that are not UTF-8 become U+FFFD, and numbers that are not finite become null. Each function
 * returns a new value, which the caller owns, or NULL with a message. */
#ifndef JSON_VALUES_H
#define JSON_VALUES_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

/* A string of `size` bytes. */
json_t *json_values_text(const char *bytes, size_t size);

/* A number, or null if it is not finite. */
json_t *json_values_number(double value);

/* The last `most` lines of a file, of those in its last 256 KiB, as an array of strings. */
json_t *json_values_lines(const char *path, int64_t most);

/* A file of names and values that each end in a zero byte, as an array of pairs of strings. */
json_t *json_values_pairs(const char *path);

/* A file of JSON. */
json_t *json_values_json(const char *path);

/* A frame: {"meta": {KEY: text}, "tensors": {NAME: {"shape": [...], "values": [...]}}}, with the
 * values in row-major order. Fails for a tensor of more than 10^6 values, or of BF16 or F16. */
json_t *json_values_frame(const struct frame *f);

#endif
