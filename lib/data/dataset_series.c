/* series: time series, all of one length, which are held in memory as F32 (T,C):
 *
 *   NAME.npy           F32 or F64 [N,T] or [N,T,C]; labels, if there are any, are integers [N] in
 *                      NAME-labels.npy beside it
 *   NAME.csv, .tsv, .txt
 *                      one series a line, C = 1, in the layout of the UCR archive: the label, then
 *                      T values, separated by a comma, or by blanks and tabs. UTF-8 with or
 *                      without a byte-order mark; lines end as on Unix or Windows; blank lines
 *                      may follow the last series
 *   a folder           with such a file for each part; the file's name says which (part.h)
 *   waves              drawn, without any file (waves.h)
 *
 * Labels may be any numbers. The classes are the distinct labels in ascending order, over all parts
 * of a folder. Their names are these numbers, by which another file's classes can be matched. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/regular_file.h"
#include "data/dataset_format.h"
#include "data/part.h"
#include "data/part_files.h"
#include "data/path.h"
#include "data/waves.h"
#include "python/npy.h"

enum { MAX_VALUES = 1 << 24 }; /* values of a series */
/* The largest number of bytes of a set. */
static const int64_t MAX_BYTES = (int64_t)1 << 34;

struct numbers {
    double *list;
    int64_t n, capacity;
};

struct series {
    char *path;
    bool waves, test;
    float *values; /* (count,T,C) */
    int64_t n_values, capacity;
    struct numbers labels;  /* one of each series; n is 0 if there are none */
    struct numbers classes; /* the distinct labels, ascending */
    char **class_names;
};

static int add_number(struct numbers *numbers, double x, const char *path)
{
    double *grown = grow(numbers->list, numbers->n, &numbers->capacity, sizeof *grown);
    if (!grown)
        return fail_memory(path);
    numbers->list = grown;
    numbers->list[numbers->n++] = x;
    return 0;
}

static int add_value(struct series *s, double x, const char *path)
{
    float *grown = grow(s->values, s->n_values, &s->capacity, sizeof *grown);
    if (!grown)
        return fail_memory(path);
    s->values = grown;
    s->values[s->n_values++] = (float)x;
    return 0;
}

/* ---- lines of numbers ---- */

struct lines {
    FILE *file;
    const char *path;
    char *line;
    size_t capacity;
    int64_t number; /* of the line, from 1 on */
    const char *at, *end;
};

static int lines_open(struct lines *l, const char *path)
{
    *l = (struct lines){.path = path};
    const int fd = regular_file_open(path, NULL);
    if (fd < 0)
        return -1;
    l->file = fdopen(fd, "r");
    if (l->file)
        return 0;
    close(fd);
    return fail_memory(path);
}

static void lines_close(struct lines *l)
{
    fclose(l->file);
    free(l->line);
}

enum line_result { LINE_FAILED = -1, LINE_END, LINE_READ };

/* Reads a line, and removes its line ending and the blanks before that. */
static enum line_result read_any_line(struct lines *l)
{
    errno = 0;
    ssize_t length = getline(&l->line, &l->capacity, l->file);
    if (length < 0 && !ferror(l->file) && !errno)
        return LINE_END;
    if (length < 0) {
        fail("%s: %s", l->path, strerror(errno));
        return LINE_FAILED;
    }
    while (length > 0 && strchr("\r\n \t", l->line[length - 1]))
        length--;
    l->number++;
    l->at = l->line;
    l->end = l->line + length;
    l->line[length] = '\0';
    if (l->number > 1)
        return LINE_READ;
    /* Refuse UTF-16 by its byte-order mark, and skip that of UTF-8. */
    if (!strncmp(l->line, "\xff\xfe", 2) || !strncmp(l->line, "\xfe\xff", 2)) {
        fail("%s: text in UTF-16; save it as UTF-8", l->path);
        return LINE_FAILED;
    }
    if (!strncmp(l->line, "\xef\xbb\xbf", 3))
        l->at += 3;
    return LINE_READ;
}

/* Reads a line, too, but counts blank lines after the last other line as the end. */
static enum line_result next_line(struct lines *l)
{
    int64_t blank = 0;
    enum line_result got;
    while ((got = read_any_line(l)) == LINE_READ && l->at == l->end)
        blank = blank ? blank : l->number;
    if (got != LINE_READ)
        return got;
    if (blank)
        fail("%s: line %lld is blank, and line %lld is not", l->path, (long long)blank,
             (long long)l->number);
    else if (strchr(l->at, '\r'))
        fail("%s: line %lld: a carriage return inside; lines end with a newline, or with both",
             l->path, (long long)l->number);
    else
        return LINE_READ;
    return LINE_FAILED;
}

/* Reads the line's next number, and the separator after it. */
static int next_number(struct lines *l, double *x)
{
    char *end;
    *x = strtod(l->at, &end);
    const char *after = end + strspn(end, " \t");
    if (end == l->at || (after == end && *end != ',' && end != l->end))
        return fail("%s: line %lld: '%.*s' is not a number%s", l->path, (long long)l->number,
                    (int)fmin(40, (double)strcspn(l->at, ",\t")), l->at,
                    l->number == 1 ? "; a line with the columns' names has to be taken out" : "");
    if (!isfinite(*x) || fabs(*x) > 3e38)
        return fail("%s: line %lld: %g is no value", l->path, (long long)l->number, *x);
    if (*after == ',' && ++after == l->end)
        return fail("%s: line %lld ends with a comma", l->path, (long long)l->number);
    l->at = after;
    return 0;
}

/* Reads a series from a line. *length is 0 before the first one. */
static int read_line(struct series *s, struct lines *l, int64_t *length)
{
    double x;
    int64_t n = 0;
    if (next_number(l, &x) || add_number(&s->labels, x, l->path))
        return -1;
    for (; l->at < l->end; n++) {
        if (n == MAX_VALUES || s->n_values >= MAX_BYTES / (int64_t)sizeof *s->values)
            return fail("%s: line %lld: more values than are read", l->path, (long long)l->number);
        if (next_number(l, &x) || add_value(s, x, l->path))
            return -1;
    }
    if (n == 0)
        return fail("%s: line %lld: a label and no values", l->path, (long long)l->number);
    if (*length && n != *length)
        return fail("%s: line %lld: %lld values, and the lines before have %lld", l->path,
                    (long long)l->number, (long long)n, (long long)*length);
    *length = n;
    return 0;
}

static int read_text(struct dataset *set, const char *path)
{
    struct series *s = set->state;
    struct lines l;
    int64_t length = 0;
    enum line_result got;
    if (lines_open(&l, path))
        return -1;
    while ((got = next_line(&l)) == LINE_READ)
        if (read_line(s, &l, &length)) {
            got = LINE_FAILED;
            break;
        }
    lines_close(&l);
    if (got == LINE_FAILED)
        return -1;
    if (s->labels.n == 0)
        return fail("%s: no series in it", path);
    set->count = s->labels.n;
    set->native_size = (int)length;
    set->channels = 1;
    return 0;
}

/* ---- arrays of numpy ---- */

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && strcasecmp(text + n - m, end) == 0;
}

static int check_array(const struct npy *a)
{
    if (a->ndim < 2 || a->ndim > 3 || a->type > NPY_F64)
        return fail("%s: not series: <f4 or <f8 of shape (N, T) or (N, T, C)", a->path);
    if (a->count == 0)
        return fail("%s: no series in it", a->path);
    if (a->count / a->shape[0] > MAX_VALUES || a->count > MAX_BYTES / (int64_t)sizeof(float))
        return fail("%s: more values than are read", a->path);
    return 0;
}

static int read_values(struct series *s, struct npy *a)
{
    const int64_t each = a->count / a->shape[0];
    double *row = malloc((size_t)each * sizeof *row);
    int result = row ? 0 : fail_memory(a->path);
    for (int64_t i = 0; i < a->shape[0] && !result; i++) {
        result = npy_read(a, each, row);
        for (int64_t k = 0; k < each && !result; k++)
            result = isfinite(row[k]) && fabs(row[k]) <= 3e38
                         ? add_value(s, row[k], a->path)
                         : fail("%s: series %lld: %g is no value", a->path, (long long)i, row[k]);
    }
    free(row);
    return result;
}

static char *labels_path(const char *path)
{
    char *labels = NULL;
    const int stem = (int)(strlen(path) - strlen(".npy"));
    if (asprintf(&labels, "%.*s-labels%s", stem, path, path + stem) < 0)
        return NULL;
    return labels;
}

/* Appends the labels of the file beside `path` to `to`, if there is such a file. */
static int read_labels(const char *path, struct numbers *to)
{
    char *labels = labels_path(path);
    if (!labels)
        return fail_memory(path);
    struct npy a;
    int result = 0;
    if (access(labels, F_OK) == 0 && !(result = npy_open(&a, labels))) {
        if (a.ndim != 1 || a.type < NPY_U8)
            result = fail("%s: not labels: |u1, <i4 or <i8 of shape (N,)", labels);
        double x;
        for (int64_t i = 0; i < a.count && !result; i++)
            result = npy_read(&a, 1, &x) || add_number(to, x, labels) ? -1 : 0;
        npy_close(&a);
    }
    free(labels);
    return result;
}

static int read_array(struct dataset *set, const char *path)
{
    struct series *s = set->state;
    struct npy a;
    if (npy_open(&a, path))
        return -1;
    const int result = check_array(&a) || read_values(s, &a) ? -1 : 0;
    npy_close(&a);
    if (result || read_labels(path, &s->labels))
        return -1;
    if (s->labels.n && s->labels.n != a.shape[0])
        return fail("%s: %lld series, and %lld labels beside it", path, (long long)a.shape[0],
                    (long long)s->labels.n);
    set->count = a.shape[0];
    set->native_size = (int)a.shape[1];
    set->channels = a.ndim == 3 ? (int)a.shape[2] : 1;
    return 0;
}

/* ---- classes ---- */

/* Appends the labels of the file of another part. */
static int add_labels_of(const char *path, struct numbers *to)
{
    if (ends_with(path, ".npy"))
        return read_labels(path, to);
    struct lines l;
    double x;
    enum line_result got;
    if (lines_open(&l, path))
        return -1;
    while ((got = next_line(&l)) == LINE_READ)
        if (next_number(&l, &x) || add_number(to, x, path)) {
            got = LINE_FAILED;
            break;
        }
    lines_close(&l);
    return got == LINE_FAILED ? -1 : 0;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Finds the classes, which are those of all parts. */
static int number_classes(struct dataset *set, const struct part_files *files)
{
    struct series *s = set->state;
    struct numbers *c = &s->classes;
    for (int64_t i = 0; i < s->labels.n; i++)
        if (add_number(c, s->labels.list[i], s->path))
            return -1;
    if (!s->labels.n)
        return 0;
    for (int i = 0; i <= PART_VALIDATION; i++)
        if (files->parts[i] && strcmp(files->parts[i], s->path) != 0 &&
            add_labels_of(files->parts[i], c))
            return -1;
    qsort(c->list, (size_t)c->n, sizeof *c->list, ascending);
    int64_t n = 0;
    for (int64_t i = 0; i < c->n; i++)
        if (i == 0 || c->list[i] != c->list[n - 1])
            c->list[n++] = c->list[i];
    c->n = n;
    if (n > INT32_MAX)
        return fail("%s: more classes than are counted", s->path);
    set->classes = (int)n;
    s->class_names = calloc((size_t)n, sizeof *s->class_names);
    for (int64_t i = 0; i < n; i++)
        if (!s->class_names || asprintf(&s->class_names[i], "%.15g", c->list[i]) < 0)
            return fail_memory(s->path);
    set->class_names = (const char *const *)s->class_names;
    return 0;
}

/* ---- names of files ---- */

static bool names_series(const char *name)
{
    return (ends_with(name, ".npy") && !ends_with(name, "-labels.npy")) ||
           ends_with(name, ".csv") || ends_with(name, ".tsv") || ends_with(name, ".txt");
}

/* Returns true for a .npy, .csv or .tsv file and for "waves". A .txt file or a folder of series is
 * not recognized: it needs --format series. */
static bool recognize(const char *path)
{
    return strcmp(path, "waves") == 0 ||
           (names_series(path) && !ends_with(path, ".txt") && path_is_file(path));
}

/* ---- the format ---- */

static int open_waves(struct dataset *set, const struct dataset_options *options)
{
    const struct series *s = set->state;
    if (options->hold)
        return part_refuse_hold("waves");
    if (!s->test && strcmp(options->split, "train") != 0)
        return part_missing("waves", options->split);
    set->count = s->test ? WAVES_TEST : WAVES_TRAIN;
    set->classes = WAVES_CLASSES;
    set->native_size = WAVES_LENGTH;
    set->channels = 1;
    return 0;
}

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    struct series *s = set->state = calloc(1, sizeof *s);
    if (!s)
        return fail_memory(options->path);
    s->test = strcmp(options->split, "test") == 0;
    s->waves = strcmp(options->path, "waves") == 0;
    if (s->waves)
        return open_waves(set, options);
    struct part_files files;
    int result = part_files_find(options, names_series, part_of_file, &files);
    if (result == 0) {
        s->path = files.wanted;
        files.wanted = NULL;
        result = ends_with(s->path, ".npy") ? read_array(set, s->path) : read_text(set, s->path);
    }
    if (result == 0)
        result = number_classes(set, &files);
    part_files_free(&files);
    return result;
}

static int64_t label(const struct dataset *set, int64_t i)
{
    const struct series *series = set->state;
    if (series->waves)
        return i % WAVES_CLASSES;
    if (!series->labels.n)
        return -1;
    const struct numbers *c = &series->classes;
    const double *class =
        bsearch(&series->labels.list[i], c->list, (size_t)c->n, sizeof *c->list, ascending);
    return class - c->list;
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct series *series = set->state;
    const size_t each = (size_t)set->native_size * (size_t)set->channels;
    s->file = series->waves ? "waves" : series->path;
    s->member = NULL;
    s->width = set->native_size;
    s->height = 1;
    if (series->waves) {
        if (sample_reserve(s, each * sizeof(float)))
            return -1;
        waves_draw(series->test, (uint32_t)i, (float *)(void *)s->buffer);
        s->label = label(set, i);
        return 0;
    }
    s->bytes = (const uint8_t *)(series->values + (size_t)i * each);
    s->size = each * sizeof(float);
    s->label = label(set, i);
    return 0;
}

static void origin(const struct dataset *set, int64_t i, struct dataset_origin *out)
{
    const struct series *series = set->state;
    *out = (struct dataset_origin){series->waves ? "waves" : series->path, NULL, i};
}

static void close_set(struct dataset *set)
{
    struct series *s = set->state;
    if (s) {
        free(s->path);
        free(s->values);
        for (int64_t i = 0; s->class_names && i < s->classes.n; i++)
            free(s->class_names[i]);
        free(s->class_names);
        free(s->labels.list);
        free(s->classes.list);
    }
    free(s);
}

const struct dataset_format dataset_series = {.recognize = recognize,
                                              .open = open_set,
                                              .get = get,
                                              .label = label,
                                              .origin = origin,
                                              .close = close_set};
