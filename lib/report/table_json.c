#include "report/table_json.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/regular_file.h"
#include "report/json_values.h"

enum { MOST_COLUMNS = 64, MOST_BYTES = 1 << 29 };

struct table {
    char *text;
    int64_t rows, columns;
    int64_t n, capacity;
    char **fields; /* [rows * columns], within text; "" for a field that a row lacks */
};

static int add_field(struct table *t, char *field)
{
    char **grown = grow(t->fields, t->n, &t->capacity, sizeof *t->fields);
    if (!grown)
        return fail_memory(NULL);
    t->fields = grown;
    t->fields[t->n++] = field;
    return 0;
}

/* Splits a line, which ends in a zero byte, into `count` fields; further ones are dropped. */
static int split(struct table *t, char *line, int64_t count)
{
    static char empty[] = "";
    for (int64_t i = 0; i < count; i++) {
        char *field = line ? strsep(&line, "\t") : empty;
        if (add_field(t, field))
            return -1;
    }
    return 0;
}

static int parse(struct table *t, const char *path)
{
    char *rest = t->text, *end = strchr(rest, '\n');
    if (!end)
        return fail("%s: has no complete line", path);
    *end = 0;
    t->columns = 1;
    for (const char *c = rest; *c; c++)
        t->columns += *c == '\t';
    if (t->columns > MOST_COLUMNS)
        return fail("%s: has more than %d columns", path, MOST_COLUMNS);
    if (split(t, rest, t->columns))
        return -1;
    for (rest = end + 1; (end = strchr(rest, '\n')); rest = end + 1, t->rows++) {
        *end = 0;
        if (split(t, rest, t->columns))
            return -1;
    }
    return 0;
}

static const char *field_of(const struct table *t, int64_t row, int64_t column)
{
    return t->fields[(row + 1) * t->columns + column];
}

/* Sets *value, NAN for an empty field, and returns whether the field is a number or empty. */
static bool number_of(const char *field, double *value)
{
    char *end;
    *value = NAN;
    if (!*field)
        return true;
    *value = strtod(field, &end);
    return end != field && !*end && !strpbrk(field, "xX");
}

static bool is_numeric(const struct table *t, int64_t column)
{
    double value;
    for (int64_t i = 0; i < t->rows; i++)
        if (!number_of(field_of(t, i, column), &value))
            return false;
    return t->rows > 0;
}

/* A field of a table that keeps all its rows; whole numbers stay whole. */
static json_t *field_json(const char *field, bool numeric)
{
    double value;
    if (!numeric)
        return json_values_text(field, strlen(field));
    number_of(field, &value);
    if (*field && strspn(field, "0123456789") == strlen(field) && strlen(field) < 16)
        return json_integer(strtoll(field, NULL, 10));
    return json_values_number(value);
}

struct group {
    double mean, low, high; /* over the finite values; NAN if there are none */
};
static struct group group_of(const struct table *t, int64_t column, int64_t from, int64_t to)
{
    struct group g = {0, INFINITY, -INFINITY};
    int64_t n = 0;
    for (int64_t i = from; i < to; i++) {
        double value;
        number_of(field_of(t, i, column), &value);
        if (!isfinite(value))
            continue;
        g.mean += value;
        g.low = fmin(g.low, value);
        g.high = fmax(g.high, value);
        n++;
    }
    g.mean = n ? g.mean / (double)n : NAN;
    return g;
}

static json_t *column_json(const struct table *t, int64_t column, int64_t every)
{
    const char *name = field_of(t, -1, column);
    const bool numeric = is_numeric(t, column);
    json_t *values = json_array(), *low = json_array(), *high = json_array();
    bool good = values && low && high;
    for (int64_t i = 0; good && i < t->rows; i += every) {
        if (every == 1) {
            good = !json_array_append_new(values, field_json(field_of(t, i, column), numeric));
            continue;
        }
        const struct group g = group_of(t, column, i, i + every < t->rows ? i + every : t->rows);
        good = !json_array_append_new(values, json_values_number(g.mean)) &&
               !json_array_append_new(low, json_values_number(g.low)) &&
               !json_array_append_new(high, json_values_number(g.high));
    }
    json_t *result = json_object();
    good = !json_object_set_new(result, "name", json_values_text(name, strlen(name))) && good;
    good = !json_object_set(result, "values", values) && good;
    if (every > 1) {
        good = !json_object_set(result, "low", low) && good;
        good = !json_object_set(result, "high", high) && good;
    }
    json_decref(values);
    json_decref(low);
    json_decref(high);
    if (good)
        return result;
    json_decref(result);
    return fail_null("out of memory for a page");
}

json_t *table_json_read(const char *path, int64_t most)
{
    struct table t = {0};
    if (regular_file_text(path, MOST_BYTES, &t.text))
        return NULL;
    json_t *result = NULL;
    if (!parse(&t, path)) {
        const int64_t every = t.rows > most ? (t.rows - 1) / most + 1 : 1;
        json_t *columns = json_array();
        for (int64_t i = 0; columns && i < t.columns; i++) {
            if (every > 1 && !is_numeric(&t, i))
                continue;
            json_t *column = column_json(&t, i, every);
            if (!column || json_array_append_new(columns, column)) {
                json_decref(columns);
                columns = NULL;
            }
        }
        if (columns)
            result = json_pack("{s:I, s:I, s:o}", "rows", (json_int_t)t.rows, "every",
                               (json_int_t)every, "columns", columns);
    }
    free(t.fields);
    free(t.text);
    return result;
}
