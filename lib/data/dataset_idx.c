/* idx: IDX files, in which MNIST and its successors are distributed: big-endian sizes, then bytes;
 * perhaps compressed with gzip. They are read as a whole; grey becomes three channels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/regular_file.h"
#include "data/dataset_format.h"
#include "data/image.h"
#include "data/part.h"
#include "data/part_files.h"
#include "data/path.h"

/* The largest number of bytes of a set. Known sets have up to 2 GB, but a small compressed file
 * could expand to any size. */
static const int64_t MAX_BYTES = (int64_t)1 << 34;

struct idx {
    uint8_t *images; /* U8 (count,height,width,3) */
    uint8_t *labels; /* NULL: there are none */
    int height, width;
    char *path; /* of the images */
};

/* ---- files ---- */

/* Opens a regular file, compressed or not. */
static gzFile open_file(const char *path)
{
    const int fd = regular_file_open(path, NULL);
    gzFile file = fd < 0 ? NULL : gzdopen(fd, "rb");
    if (fd >= 0 && !file) {
        fail_memory(path);
        close(fd);
    }
    return file;
}

/* Reads the header of a file of bytes with `dims` dimensions, and sets shape to their lengths. */
static int read_header(gzFile file, const char *path, int dims, int64_t *shape)
{
    uint8_t bytes[16];
    const int n = 4 + 4 * dims;
    if (gzread(file, bytes, (unsigned int)n) != n || bytes[0] || bytes[1] || bytes[2] != 8 ||
        bytes[3] != dims)
        return fail("%s: not an IDX file of bytes with %d dimensions", path, dims);
    for (int i = 0; i < dims; i++) {
        const uint8_t *b = bytes + 4 + 4 * i;
        shape[i] = (int64_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
    }
    return 0;
}

/* Makes room for that many bytes in *out. */
static int reserve(uint8_t **out, int64_t *capacity, int64_t bytes, const char *path)
{
    while (*capacity < bytes) {
        uint8_t *grown = grow(*out, *capacity, capacity, 1);
        if (!grown)
            return fail_memory(path);
        *out = grown;
    }
    return 0;
}

/* Reads n x size bytes, and writes each of them `copies` times to *out, which belongs to the
 * caller. Memory grows with the bytes that the file has, not with what the header claims. */
static int read_bytes(gzFile file, const char *path, int64_t n, size_t size, size_t copies,
                      uint8_t **out)
{
    int64_t capacity = 0;
    uint8_t *item = malloc(size);
    int result = item ? 0 : fail_memory(path);
    for (int64_t i = 0; i < n && result == 0; i++) {
        const size_t used = (size_t)i * size * copies;
        if (gzread(file, item, (unsigned int)size) != (int)size) {
            result = fail("%s: truncated: %lld of %lld items", path, (long long)i, (long long)n);
            break;
        }
        result = reserve(out, &capacity, (int64_t)(used + size * copies), path);
        for (size_t k = 0; k < size * copies && result == 0; k++)
            (*out)[used + k] = item[k / copies];
    }
    free(item);
    return result;
}

static int read_images(struct dataset *set, const char *path)
{
    struct idx *x = set->state;
    gzFile file = open_file(path);
    int64_t shape[3];
    int result = file ? read_header(file, path, 3, shape) : -1;
    if (result == 0 && shape[0] == 0)
        result = fail("%s: no image in it", path);
    if (result == 0)
        result = image_check(shape[2], shape[1], path);
    if (result == 0 && shape[0] > MAX_BYTES / (3 * shape[1] * shape[2]))
        result = fail("%s: %lld images of %lld x %lld pixels are more than is read", path,
                      (long long)shape[0], (long long)shape[2], (long long)shape[1]);
    if (result == 0) {
        set->count = shape[0];
        x->height = (int)shape[1];
        x->width = (int)shape[2];
        result = read_bytes(file, path, shape[0], (size_t)(shape[1] * shape[2]), 3, &x->images);
    }
    if (file)
        gzclose(file);
    return result;
}

static int read_labels(struct dataset *set, const char *path)
{
    struct idx *x = set->state;
    gzFile file = open_file(path);
    int64_t n = 0;
    int result = file ? read_header(file, path, 1, &n) : -1;
    if (result == 0 && n != set->count)
        result = fail("%s: %lld labels of %lld images", path, (long long)n, (long long)set->count);
    if (result == 0)
        result = read_bytes(file, path, n, 1, 1, &x->labels);
    if (file)
        gzclose(file);
    for (int64_t i = 0; i < n && result == 0; i++)
        if (x->labels[i] >= set->classes)
            set->classes = x->labels[i] + 1;
    return result;
}

/* ---- names of files ---- */

/* Returns true for names such as "train-images-idx3-ubyte" and
 * "emnist-letters-test-images.idx3-ubyte.gz". */
static bool names_images(const char *name)
{
    return strstr(name, "images") && strstr(name, "idx3");
}

/* Returns the path of the file of labels that belongs to a file of images, or NULL. */
static char *labels_of(const char *images)
{
    const char *word = strstr(basename(images), "images"),
               *idx = word ? strstr(word, "idx3") : NULL;
    char *path = NULL;
    if (!idx || asprintf(&path, "%.*slabels%.*sidx1%s", (int)(word - images), images,
                         (int)(idx - word - 6), word + 6, idx + 4) < 0)
        return NULL;
    if (access(path, F_OK) == 0)
        return path;
    free(path);
    return NULL;
}

static enum part part_of(const char *name)
{
    return strstr(name, "t10k") ? PART_TEST : part_of_file(name);
}

/* ---- the format ---- */

static bool recognize(const char *path)
{
    if (path_is_folder(path)) {
        char *images = path_find_file(path, names_images);
        free(images);
        return images != NULL;
    }
    gzFile file = path_is_file(path) ? open_file(path) : NULL;
    int64_t shape[3];
    const bool yes = file && read_header(file, path, 3, shape) == 0;
    if (file)
        gzclose(file);
    return yes;
}

static int open_set(struct dataset *set, const struct dataset_options *options)
{
    set->state = calloc(1, sizeof(struct idx));
    if (!set->state)
        return fail_memory(options->path);
    struct part_files files;
    char *labels = NULL;
    int result = part_files_find(options, names_images, part_of, &files);
    if (result == 0) {
        labels = labels_of(files.wanted);
        result = read_images(set, files.wanted) || (labels && read_labels(set, labels)) ? -1 : 0;
    }
    struct idx *x = set->state;
    x->path = files.wanted;
    files.wanted = NULL;
    part_files_free(&files);
    free(labels);
    set->native_size = x->width == x->height ? x->width : 0;
    return result;
}

static int get(const struct dataset *set, int64_t i, struct sample *s)
{
    const struct idx *x = set->state;
    s->width = x->width;
    s->height = x->height;
    s->size = 3 * (size_t)x->width * (size_t)x->height;
    s->bytes = x->images + (size_t)i * s->size;
    s->label = x->labels ? x->labels[i] : -1;
    return 0;
}

static int64_t label(const struct dataset *set, int64_t i)
{
    const struct idx *x = set->state;
    return x->labels ? x->labels[i] : -1;
}

static void origin(const struct dataset *set, int64_t i, struct dataset_origin *out)
{
    const struct idx *x = set->state;
    *out = (struct dataset_origin){x->path, NULL, i};
}

static void close_set(struct dataset *set)
{
    struct idx *x = set->state;
    if (x) {
        free(x->images);
        free(x->labels);
        free(x->path);
    }
    free(x);
}

const struct dataset_format dataset_idx = {.recognize = recognize,
                                           .open = open_set,
                                           .get = get,
                                           .label = label,
                                           .origin = origin,
                                           .close = close_set};
