/* table_json: turns a table of tab-separated values into JSON for a page, with fewer rows if it is
 * long. */
#ifndef TABLE_JSON_H
#define TABLE_JSON_H

#include <jansson.h>
#include <stdint.h>

/* Reads a table whose first line names the columns, at most 64. A last line without an end is left
 * out, since it may still be written. Returns, owned by the caller, or NULL with a message:
 *
 *   {"rows": N, "every": K, "columns": [{"name": ..., "values": [...], "low": ..., "high": ...}]}
 *
 * A column whose fields are all numbers, nan, inf or empty has numbers, and null for nan, inf and
 * empty fields; others have strings. If there are more than `most` rows, the values are means of
 * groups of K rows (the last may be smaller), over the finite ones among them; `low` and `high`,
 * which only such a table has, are their ranges, and columns of strings are left out. */
json_t *table_json_read(const char *path, int64_t most);

#endif
