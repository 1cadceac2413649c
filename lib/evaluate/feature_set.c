#include "evaluate/feature_set.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/half.h"
#include "base/large_pages.h"
#include "base/multiversion.h"
#include "link/endpoint.h"
#include "link/stream.h"

/* Returns the tensor called `on`, or for "" the first of h, z and x. Returns NULL with a message if
 * there is none. */
static const struct tensor *find_features(const struct frame *frame, const char *on)
{
    static const char *const names[] = {"h", "z", "x"};
    const struct tensor *t = NULL;
    if (*on) {
        t = frame_find(frame, on);
        return t ? t : fail_null("no tensor '%s' to evaluate", on);
    }
    for (int i = 0; i < 3 && !t; i++)
        t = frame_find(frame, names[i]);
    return t ? t : fail_null("no tensor 'h', 'z' or 'x' to evaluate");
}

/* Makes room for `more` rows. */
static int reserve(struct feature_set *f, int64_t more)
{
    int64_t n, bytes;
    if (__builtin_add_overflow(f->n, more, &n))
        return fail("too many rows");
    if (n <= f->capacity)
        return 0;
    int64_t capacity = n > INT64_MAX / 2 ? n : n + n / 2;
    if (__builtin_mul_overflow(capacity, f->width, &bytes) || bytes > INT64_MAX / 8)
        return fail("%lld rows of %lld features are too many", (long long)n, (long long)f->width);
    const size_t size = (size_t)bytes * sizeof *f->x;
    float *x = large_pages_resize(f->x, f->x_bytes, size);
    if (x) {
        f->x = x;
        f->x_bytes = size;
    }
    int64_t *y = x ? realloc(f->y, (size_t)capacity * sizeof *y) : NULL;
    if (y)
        f->y = y;
    int64_t *index =
        y && f->unlabelled ? realloc(f->index, (size_t)capacity * sizeof *index) : NULL;
    if (!y || (f->unlabelled && !index))
        return fail("out of memory for %lld rows of %lld features", (long long)n,
                    (long long)f->width);
    f->index = f->unlabelled ? index : NULL;
    f->capacity = capacity;
    return 0;
}

MULTIVERSION
static void scale_pixels(const uint8_t *in, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (float)in[i] * (1.0f / 255);
}

/* Returns true if all values are finite. It tests each value, because a sum of the values could
 * cancel or overflow. */
MULTIVERSION
static int row_is_finite(const float *row, int64_t width)
{
    int bad = 0;
    for (int64_t j = 0; j < width; j++)
        bad |= !(fabsf(row[j]) < INFINITY);
    return !bad;
}

/* Checks the tensor's dtype and shape, sets f->width and f->views, and returns the number of rows,
 * or -1. */
static int64_t check_shape(struct feature_set *f, const struct tensor *t)
{
    if (t->dtype == DTYPE_I32 || t->dtype == DTYPE_I64)
        return fail("'%s' is %s, not a float or U8", t->name, dtype_name(t->dtype));
    if (t->ndim < 2)
        return fail("'%s' has %d dimensions; features are [B,D] or [B,1,D]", t->name, t->ndim);
    const int64_t views = t->ndim > 2 ? t->shape[1] : 1;
    if (views != 1 && !f->every_view)
        return fail("'%s' holds %lld views of each image; evaluate one: augment --views 1", t->name,
                    (long long)t->shape[1]);
    if (views < 1 || (f->n && views != f->views))
        return fail("'%s' holds %lld views of each image%s", t->name, (long long)views,
                    f->n ? ", earlier frames another number" : "");
    int64_t width = 1, rows;
    for (int i = t->ndim > 2 ? 2 : 1; i < t->ndim; i++)
        if (__builtin_mul_overflow(width, t->shape[i], &width))
            return fail("'%s' is too wide", t->name);
    if (width == 0)
        return fail("'%s' has rows without a feature", t->name);
    if (f->n && width != f->width)
        return fail("'%s' changes from %lld to %lld features", t->name, (long long)f->width,
                    (long long)width);
    if (__builtin_mul_overflow(t->shape[0], views, &rows))
        return fail("too many rows");
    f->width = width;
    f->views = views;
    return rows;
}

/* Stores a list of names of the first frame. Refuses a later frame with other names, because in
 * concatenated streams the same number may mean different classes. */
static int take_list(const struct feature_set *f, const struct frame *frame, const char *key,
                     struct class_names *names, char **names_text)
{
    const char *text = f->by_number ? NULL : frame_meta(frame, key);
    if (!text || (*names_text && !strcmp(text, *names_text)))
        return 0;
    if (f->begun)
        return fail("the %s of a later frame are not those of the first: these are streams of "
                    "different data; evaluate one of them (or use --match numbers)",
                    key);
    if (!(*names_text = strdup(text)))
        return fail("out of memory for the class names");
    if (!class_names_parse(names, text))
        return 0;
    return strcmp(key, "class_names") ? fail("%s: %s", key, fail_message()) : -1;
}

static int take_names(struct feature_set *f, const struct frame *frame)
{
    if (take_list(f, frame, "class_names", &f->names, &f->names_text) ||
        take_list(f, frame, "logit_names", &f->logit_names, &f->logit_names_text))
        return -1;
    f->begun = true;
    return 0;
}

static int check_label(const struct feature_set *f, int64_t row, int64_t label)
{
    if (label == -1 && f->unlabelled)
        return 0;
    if (label == -1)
        return fail("row %lld has label -1 in 'y', which is none: only labelled images can be "
                    "evaluated (class folders, or a format with labels)",
                    (long long)row);
    if (label < 0 || label >= FEATURE_SET_MAX_CLASSES)
        return fail("row %lld has label %lld in 'y'; labels are from 0 to %d", (long long)row,
                    (long long)label, FEATURE_SET_MAX_CLASSES - 1);
    if (f->names_text && label >= f->names.n)
        return fail("row %lld has label %lld, where class_names has %d names", (long long)row,
                    (long long)label, f->names.n);
    return 0;
}

/* Stores the labels of the rows that are being added; y is NULL if they have none. */
static int take_labels(struct feature_set *f, const int64_t *y, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        const int64_t label = y ? y[i] : -1;
        if (y && check_label(f, f->n + i, label))
            return -1;
        f->y[f->n + i] = label;
        if (label >= f->classes)
            f->classes = (int)label + 1;
    }
    return 0;
}

/* Sets *labels to the tensor `y`, or to NULL if rows need no label and there is none. */
static int find_labels(const struct feature_set *f, const struct frame *frame, int64_t rows,
                       const struct tensor **labels)
{
    *labels = NULL;
    if (f->every_view)
        return 0;
    if (!frame_find(frame, "y"))
        return f->unlabelled ? 0 : fail("no tensor 'y': evaluation needs labels");
    *labels = frame_need(frame, "y", DTYPE_I64, 1, (int64_t[]){rows});
    return *labels ? 0 : -1;
}

/* Copies `index`, or numbers the rows if the frame does not have it. */
static int take_index(struct feature_set *f, const struct frame *frame, int64_t rows)
{
    const struct tensor *t = frame_find(frame, "index");
    if (t && !(t = frame_need(frame, "index", DTYPE_I64, 1, (int64_t[]){rows})))
        return -1;
    for (int64_t i = 0; i < rows; i++)
        f->index[f->n + i] = t ? ((const int64_t *)t->data)[i] : f->n + i;
    return 0;
}

int feature_set_add(struct feature_set *f, const struct frame *frame, const char *on)
{
    const struct tensor *t = find_features(frame, *f->on ? f->on : on);
    if (!t)
        return -1;
    int64_t rows = check_shape(f, t);
    if (rows < 0 || (!f->every_view && take_names(f, frame)))
        return -1;
    const struct tensor *y;
    if (find_labels(f, frame, rows, &y) || reserve(f, rows))
        return -1;
    snprintf(f->on, sizeof f->on, "%s", t->name);
    if (rows == 0)
        return 0;
    if (f->unlabelled && take_index(f, frame, rows))
        return -1;

    float *x = f->x + f->n * f->width;
    size_t count = (size_t)(rows * f->width);
    if (t->dtype == DTYPE_U8)
        scale_pixels(t->data, x, count);
    else if (t->dtype == DTYPE_BF16)
        half_widen_bf16(t->data, x, count);
    else if (t->dtype == DTYPE_F16)
        half_widen_f16(t->data, x, count);
    else if (count)
        memcpy(x, t->data, count * sizeof *x);
    for (int64_t i = 0; i < rows; i++)
        if (!row_is_finite(x + i * f->width, f->width))
            return fail("row %lld of '%s' holds NaN or infinity", (long long)(f->n + i), t->name);
    if (take_labels(f, y ? y->data : NULL, rows))
        return -1;
    f->n += rows;
    return 0;
}

int feature_set_read(struct feature_set *f, const char *endpoint, const struct link_config *links,
                     const char *on, const char *what, progress_line *progress)
{
    struct source *source = source_open(endpoint, links);
    if (!source)
        return -1;
    struct frame *frame;
    enum source_result got;
    while ((got = source_next(source, &frame)) == SOURCE_FRAME) {
        int added = feature_set_add(f, frame, on);
        frame_free(frame);
        if (added) {
            fail_prefix("%s", source_name(source));
            break;
        }
        if (progress)
            progress("reading %s: %lld rows", what, (long long)f->n);
    }
    int bad = got == SOURCE_END ? 0 : -1;
    if (!bad && f->n == 0)
        bad = fail("%s: holds no rows", source_name(source));
    source_close(source);
    return bad;
}

void feature_set_scale(struct feature_set *f)
{
    for (int64_t i = 0; i < f->n; i++) {
        float *row = f->x + i * f->width;
        double squares = 0;
        for (int64_t j = 0; j < f->width; j++)
            squares += (double)row[j] * (double)row[j];
        const double scale = squares > 0 ? 1 / sqrt(squares) : 0;
        for (int64_t j = 0; j < f->width; j++)
            row[j] = (float)((double)row[j] * scale);
    }
}

void feature_set_free(struct feature_set *f)
{
    large_pages_free(f->x, f->x_bytes);
    free(f->y);
    free(f->index);
    free(f->names_text);
    free(f->logit_names_text);
    class_names_free(&f->names);
    class_names_free(&f->logit_names);
    *f = (struct feature_set){0};
}
