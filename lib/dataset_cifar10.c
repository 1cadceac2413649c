/* CIFAR-10's binary files: records of a label byte and three planes of 32 x 32 pixels. Read whole
 * (184 MB for the training set) and kept interleaved. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dataset_format.h"
#include "fail.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE, RECORD = 1 + PIXELS, CLASSES = 10 };

static const char *const train_files[] = {"data_batch_1.bin", "data_batch_2.bin",
                                          "data_batch_3.bin", "data_batch_4.bin",
                                          "data_batch_5.bin", NULL};
static const char *const test_files[] = {"test_batch.bin", NULL};

/* count images, each followed by its label: PIXELS + 1 bytes. */
struct cifar10 {
    uint8_t *records;
};

static char *join(const char *folder, const char *name)
{
    char *path;
    return asprintf(&path, "%s/%s", folder, name) < 0 ? NULL : path;
}

static bool exists(const char *folder, const char *name)
{
    char *path = join(folder, name);
    const bool yes = path && access(path, F_OK) == 0;
    free(path);
    return yes;
}

static bool recognize(const char *path)
{
    for (int i = 0; train_files[i]; i++)
        if (exists(path, train_files[i]))
            return true;
    return exists(path, test_files[0]);
}

/* Moves the label behind the pixels and the planes into pixels. */
static int convert_record(const uint8_t *from, uint8_t *to, const char *path, int64_t number)
{
    if (from[0] >= CLASSES)
        return fail("%s: record %lld has label %d, and there are %d classes", path,
                    (long long)number, from[0], CLASSES);
    for (int i = 0; i < PLANE; i++)
        for (int c = 0; c < 3; c++)
            to[3 * i + c] = from[1 + c * PLANE + i];
    to[PIXELS] = from[0];
    return 0;
}

static int read_records(struct dataset *set, FILE *file, int64_t records, const char *path)
{
    struct cifar10 *c = set->state;
    const size_t total = (size_t)(set->count + records);
    uint8_t *grown = realloc(c->records, total * RECORD);
    if (!grown)
        return fail("%s: out of memory", path);
    c->records = grown;
    for (int64_t i = 0; i < records; i++) {
        uint8_t record[RECORD];
        if (fread(record, RECORD, 1, file) != 1)
            return fail("%s: record %lld cannot be read", path, (long long)i);
        if (convert_record(record, c->records + (size_t)(set->count + i) * RECORD, path, i))
            return -1;
    }
    set->count += records;
    return 0;
}

static int read_file(struct dataset *set, const char *path)
{
    FILE *file = fopen(path, "rbe");
    struct stat st;
    int result;
    if (!file || fstat(fileno(file), &st) != 0)
        result = fail("%s: %s", path, strerror(errno));
    else if (!S_ISREG(st.st_mode))
        result = fail("%s: not a regular file", path);
    else if (st.st_size == 0 || st.st_size % RECORD != 0 || st.st_size > (off_t)1 << 32)
        result = fail("%s: %lld bytes are no whole number of records of %d bytes", path,
                      (long long)st.st_size, RECORD);
    else
        result = read_records(set, file, st.st_size / RECORD, path);
    if (file)
        fclose(file);
    return result;
}

static int open_set(struct dataset *set, const char *path, const char *split, int size)
{
    (void)size;
    set->state = calloc(1, sizeof(struct cifar10));
    if (!set->state)
        return fail("%s: out of memory", path);
    const char *const *files = strcmp(split, "test") == 0 ? test_files : train_files;
    for (int i = 0; files[i]; i++) {
        if (!exists(path, files[i]))
            continue;
        char *file = join(path, files[i]);
        const int result = file ? read_file(set, file) : fail("%s: out of memory", path);
        free(file);
        if (result)
            return -1;
    }
    if (set->count == 0)
        return fail("%s: no %s in it", path,
                    files == test_files ? "test_batch.bin"
                                        : "data_batch_1.bin to data_batch_5.bin");
    set->classes = CLASSES;
    set->native_size = SIDE;
    return 0;
}

static int get(const struct dataset *set, int64_t i, struct image *image)
{
    const struct cifar10 *c = set->state;
    image->pixels = c->records + (size_t)i * RECORD;
    image->width = image->height = SIDE;
    image->label = image->pixels[PIXELS];
    return 0;
}

static void close_set(struct dataset *set)
{
    struct cifar10 *c = set->state;
    if (c)
        free(c->records);
    free(c);
}

const struct dataset_format dataset_cifar10 = {"cifar10", recognize, open_set, get, close_set};
