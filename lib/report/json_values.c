#include "report/json_values.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/regular_file.h"

enum { TAIL = 256 << 10, MOST_VALUES = 1000000, MOST_BYTES = 64 << 20 };
static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

/* Returns the length of the UTF-8 character at text, or 0 if it is none: not a shortest form, a
 * surrogate, above U+10FFFF, or cut off. */
static size_t character(const unsigned char *text, size_t left)
{
    const unsigned char first = text[0];
    const size_t length = first < 0x80   ? 1
                          : first < 0xc2 ? 0
                          : first < 0xe0 ? 2
                          : first < 0xf0 ? 3
                          : first < 0xf5 ? 4
                                         : 0;
    if (length == 0 || length > left)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    if ((first == 0xe0 && text[1] < 0xa0) || (first == 0xed && text[1] > 0x9f) ||
        (first == 0xf0 && text[1] < 0x90) || (first == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

json_t *json_values_text(const char *bytes, size_t size)
{
    char *clean = malloc(3 * size + 1);
    size_t n = 0;
    if (!clean)
        return fail_null("out of memory for %zu bytes of text", size);
    for (size_t i = 0; i < size;) {
        const size_t length = character((const unsigned char *)bytes + i, size - i);
        memcpy(clean + n, length ? bytes + i : replacement, length ? length : 3);
        n += length ? length : 3;
        i += length ? length : 1;
    }
    json_t *text = json_stringn(clean, n);
    free(clean);
    return text ? text : fail_null("out of memory for %zu bytes of text", size);
}

json_t *json_values_number(double value)
{
    json_t *number = isfinite(value) ? json_real(value) : json_null();
    return number ? number : fail_null("out of memory for a number");
}

/* Appends an item, which may be NULL with a message, to an array, or frees the array. */
static json_t *append(json_t *array, json_t *item)
{
    if (item && !json_array_append_new(array, item))
        return array;
    json_decref(array);
    return item ? fail_null("out of memory for a page") : NULL;
}

/* Reads the last TAIL bytes of a file. Sets *size and *cut, whether there are bytes before. */
static char *read_tail(const char *path, size_t *size, bool *cut)
{
    int64_t length;
    const int fd = regular_file_open(path, &length);
    if (fd < 0)
        return NULL;
    char *text = malloc(TAIL);
    const int64_t from = length > TAIL ? length - TAIL : 0;
    const ssize_t got = text ? pread(fd, text, TAIL, from) : -1;
    close(fd);
    if (got < 0) {
        free(text);
        return fail_null("%s: cannot be read", path);
    }
    *size = (size_t)got;
    *cut = from > 0;
    return text;
}

json_t *json_values_lines(const char *path, int64_t most)
{
    size_t size = 0;
    bool cut = false;
    char *text = read_tail(path, &size, &cut);
    if (!text)
        return NULL;
    size_t start = 0;
    if (cut) { /* the first line is incomplete */
        const char *first = memchr(text, '\n', size);
        start = first ? (size_t)(first - text) + 1 : size;
    }
    int64_t lines = 0;
    for (size_t i = size; i > start && lines <= most; i--)
        if (text[i - 1] == '\n' && i < size && ++lines == most)
            start = i;
    json_t *array = json_array();
    while (array && start < size) {
        const char *end = memchr(text + start, '\n', size - start);
        const size_t length = end ? (size_t)(end - text) - start : size - start;
        array = append(array, json_values_text(text + start, length));
        start += length + 1;
    }
    free(text);
    return array;
}

json_t *json_values_pairs(const char *path)
{
    size_t size = 0;
    bool cut = false;
    char *text = read_tail(path, &size, &cut);
    if (!text)
        return NULL;
    if (cut || (size && text[size - 1])) {
        free(text);
        return fail_null("%s: not names and values that end in zero bytes", path);
    }
    json_t *array = json_array(), *pair = NULL;
    for (size_t i = 0; array && i < size; i += strlen(text + i) + 1) {
        json_t *word = json_values_text(text + i, strlen(text + i));
        if (!pair) {
            pair = append(json_array(), word);
            continue;
        }
        pair = append(pair, word);
        array = append(array, pair);
        pair = NULL;
    }
    json_decref(pair);
    free(text);
    return array;
}

json_t *json_values_json(const char *path)
{
    char *text;
    json_error_t error;
    if (regular_file_text(path, MOST_BYTES, &text))
        return NULL;
    json_t *value = json_loads(text, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    free(text);
    return value ? value : fail_null("%s: no JSON: %s", path, error.text);
}

static json_t *value_of(const struct tensor *t, size_t i)
{
    switch (t->dtype) {
    case DTYPE_F32:
        return json_values_number((double)((const float *)t->data)[i]);
    case DTYPE_I32:
        return json_integer(((const int32_t *)t->data)[i]);
    case DTYPE_I64:
        return json_integer(((const int64_t *)t->data)[i]);
    default:
        return json_integer(((const uint8_t *)t->data)[i]);
    }
}

static json_t *tensor_json(const struct tensor *t)
{
    if (t->dtype == DTYPE_BF16 || t->dtype == DTYPE_F16 || tensor_count(t) > MOST_VALUES)
        return fail_null("%s: %s of %zu values does not go on a page", t->name,
                         dtype_name(t->dtype), tensor_count(t));
    json_t *shape = json_array(), *values = json_array();
    for (int i = 0; shape && i < t->ndim; i++)
        shape = append(shape, json_integer(t->shape[i]));
    for (size_t i = 0; values && i < tensor_count(t); i++)
        values = append(values, value_of(t, i));
    json_t *tensor =
        shape && values ? json_pack("{s:o, s:o}", "shape", shape, "values", values) : NULL;
    return tensor ? tensor : fail_null("%s: out of memory for a page", t->name);
}

json_t *json_values_frame(const struct frame *f)
{
    json_t *metas = json_object(), *tensors = json_object();
    bool good = metas && tensors;
    for (int i = 0; good && i < f->n_metas; i++)
        good = !json_object_set_new(metas, f->metas[i].key,
                                    json_values_text(f->metas[i].value, strlen(f->metas[i].value)));
    if (!good)
        fail("out of memory for a page");
    for (int i = 0; good && i < f->n_tensors; i++) {
        json_t *t = tensor_json(&f->tensors[i]);
        good = t && !json_object_set_new(tensors, f->tensors[i].name, t);
    }
    if (good)
        return json_pack("{s:o, s:o}", "meta", metas, "tensors", tensors);
    json_decref(metas);
    json_decref(tensors);
    return NULL;
}
