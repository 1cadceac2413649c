#include "data/cifar_batch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/large_pages.h"
#include "base/multiversion.h"
#include "python/pickle.h"
#include "python/pickle_array.h"

enum { PLANE = CIFAR_SIDE * CIFAR_SIDE };

MULTIVERSION
static void interleave(const uint8_t *restrict planes, uint8_t *restrict pixels)
{
    for (size_t i = 0; i < PLANE; i++) {
        pixels[3 * i] = planes[i];
        pixels[3 * i + 1] = planes[PLANE + i];
        pixels[3 * i + 2] = planes[2 * PLANE + i];
    }
}

/* Makes room for n more images. */
static int reserve(struct cifar_images *c, const struct sample *file, size_t n)
{
    size_t bytes;
    if (__builtin_mul_overflow((size_t)c->count + n, (size_t)CIFAR_KEPT, &bytes))
        return sample_fail(file, "out of memory");
    uint8_t *grown = large_pages_resize(c->images, c->bytes, bytes);
    if (!grown)
        return sample_fail(file, "out of memory");
    c->images = grown;
    c->bytes = bytes;
    return 0;
}

void cifar_images_free(struct cifar_images *c)
{
    large_pages_free(c->images, c->bytes);
    *c = (struct cifar_images){0};
}

/* ---- the binary version ---- */

int cifar_batch_add_records(struct cifar_images *c, const struct sample *file, size_t label_bytes,
                            int classes)
{
    const size_t record = label_bytes + CIFAR_PIXELS, n = file->size / record;
    if (n == 0 || file->size % record != 0)
        return sample_fail(file, "%zu bytes are no whole number of records of %zu bytes",
                           file->size, record);
    if (reserve(c, file, n))
        return -1;
    for (size_t k = 0; k < n; k++) {
        const uint8_t *from = file->bytes + k * record, label = from[label_bytes - 1];
        uint8_t *to = c->images + ((size_t)c->count + k) * CIFAR_KEPT;
        if (label >= classes)
            return sample_fail(file, "record %zu has label %d, and there are %d classes", k, label,
                               classes);
        interleave(from + label_bytes, to);
        to[CIFAR_PIXELS] = label;
    }
    c->count += (int64_t)n;
    return 0;
}

/* ---- pickles ---- */

/* Reads the pickle in the sample, which must be a dict. The caller frees it. */
static struct pickle *read_dict(const struct sample *file, char *where, size_t size)
{
    snprintf(where, size, "%s%s%s", file->file, file->member ? ": " : "",
             file->member ? file->member : "");
    /* The globals that arrays and scalars of numpy need. */
    static const char *const globals[] = {"numpy.core.multiarray._reconstruct",
                                          "numpy._core.multiarray._reconstruct",
                                          "numpy.core.numeric._frombuffer",
                                          "numpy._core.numeric._frombuffer",
                                          "numpy.core.multiarray.scalar",
                                          "numpy._core.multiarray.scalar",
                                          "numpy.ndarray",
                                          "numpy.dtype",
                                          "_codecs.encode",
                                          NULL};
    struct pickle *p = pickle_read(file->bytes, file->size, 0, where, globals, NULL);
    if (!p || pickle_root(p)->kind == PICKLE_DICT)
        return p;
    pickle_free(p);
    return fail_null("%s: a pickle without a dict", where);
}

/* The labels of a batch: a list, or an array. */
struct labels {
    const struct pickle_value *list;
    struct pickle_array array;
    int64_t n;
};

static int find_labels(const struct pickle_value *dict, const char *key, const char *where,
                       struct labels *labels)
{
    const struct pickle_value *v = pickle_find(dict, key);
    *labels = (struct labels){0};
    if (!v)
        return fail("%s: it has no %s", where, key);
    if (v->kind == PICKLE_LIST || v->kind == PICKLE_TUPLE) {
        labels->list = v;
        labels->n = v->list.n;
        return 0;
    }
    if (pickle_array_read(v, where, &labels->array))
        return -1;
    labels->n = labels->array.count;
    return labels->array.ndim == 1 ? 0 : fail("%s: its %s are no list", where, key);
}

/* Finds label i. Returns false if it is no integer. */
static bool label_at(const struct labels *labels, int64_t i, int64_t *label)
{
    if (labels->list)
        return pickle_array_integer(labels->list->list.items[i], label);
    *label = pickle_array_value(&labels->array, i);
    return true;
}

/* Adds the images of an array U8 (n,3072), which numpy may have stored column by column. */
static int add_images(struct cifar_images *c, const struct sample *file,
                      const struct pickle_array *data, const struct labels *labels, int classes)
{
    const int64_t n = data->shape[0];
    uint8_t planes[CIFAR_PIXELS];
    if (reserve(c, file, (size_t)n))
        return -1;
    for (int64_t i = 0; i < n; i++) {
        uint8_t *to = c->images + ((size_t)c->count + (size_t)i) * CIFAR_KEPT;
        int64_t label;
        if (!label_at(labels, i, &label))
            return sample_fail(file, "the label of image %lld is no integer", (long long)i);
        if (label < 0 || label >= classes)
            return sample_fail(file, "image %lld has label %lld, and there are %d classes",
                               (long long)i, (long long)label, classes);
        for (int64_t j = 0; data->fortran && j < CIFAR_PIXELS; j++)
            planes[j] = data->values[j * n + i];
        interleave(data->fortran ? planes : data->values + i * CIFAR_PIXELS, to);
        to[CIFAR_PIXELS] = (uint8_t)label;
    }
    c->count += n;
    return 0;
}

int cifar_batch_add_pickle(struct cifar_images *c, const struct sample *file, const char *key,
                           int classes)
{
    char where[512];
    struct pickle *p = read_dict(file, where, sizeof where);
    if (!p)
        return -1;
    struct pickle_array data = {0};
    struct labels labels = {0};
    const struct pickle_value *dict = pickle_root(p), *images = pickle_find(dict, "data");
    int result =
        images ? pickle_array_read(images, where, &data) : fail("%s: it has no data", where);
    if (result == 0 && (data.ndim != 2 || data.size != 1 || data.has_sign || data.shape[0] == 0 ||
                        data.shape[1] != CIFAR_PIXELS))
        result = fail("%s: its data is no array of %d bytes for each image", where, CIFAR_PIXELS);
    if (result == 0)
        result = find_labels(dict, key, where, &labels);
    if (result == 0 && labels.n != data.shape[0])
        result = fail("%s: %lld labels for %lld images", where, (long long)labels.n,
                      (long long)data.shape[0]);
    if (result == 0)
        result = add_images(c, file, &data, &labels, classes);
    pickle_array_free(&labels.array);
    pickle_array_free(&data);
    pickle_free(p);
    return result;
}

enum { MAX_NAME = 256 }; /* bytes of a class's name with its final zero */

static int copy_names(const struct pickle_value *list, const char *where, const char *key,
                      int classes, const char **names, char **text)
{
    if (!list || list->kind != PICKLE_LIST)
        return fail("%s: it has no %s", where, key);
    if (list->list.n != (uint32_t)classes)
        return fail("%s: %u names of %d classes", where, list->list.n, classes);
    *text = calloc((size_t)classes, MAX_NAME);
    if (!*text)
        return fail_memory(where);
    for (int i = 0; i < classes; i++) {
        const struct pickle_value *v = list->list.items[i];
        if ((v->kind != PICKLE_TEXT && v->kind != PICKLE_BYTES) || v->bytes.n == 0 ||
            v->bytes.n >= MAX_NAME || memchr(v->bytes.start, 0, v->bytes.n))
            return fail("%s: the name of class %d is no text of up to %d bytes", where, i,
                        MAX_NAME - 1);
        names[i] = memcpy(*text + i * MAX_NAME, v->bytes.start, v->bytes.n);
    }
    return 0;
}

int cifar_batch_pickled_names(const struct sample *file, const char *key, int classes,
                              const char **names, char **text)
{
    char where[512];
    struct pickle *p = read_dict(file, where, sizeof where);
    if (!p)
        return -1;
    const int result =
        copy_names(pickle_find(pickle_root(p), key), where, key, classes, names, text);
    pickle_free(p);
    return result;
}
