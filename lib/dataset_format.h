/* dataset_format: what a dataset_NAME.c provides. dataset.c holds the list of formats. */
#ifndef DATASET_FORMAT_H
#define DATASET_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "dataset.h"

/* What open() is given. */
struct dataset_place {
    const char *path, *split;
    int size;
};

struct dataset {
    const struct dataset_format *format;
    void *state; /* the format's own */
    /* Set by the format's open(). */
    bool in_sequence; /* next() reads it, and dataset.c does the rest; else get() does */
    bool rewinds;     /* rewind() works */
    bool costly;
    int64_t count;
    int classes, native_size; /* native_size 0: dataset.c finds out */
    int channels;             /* of series; their samples are F32 (native_size,channels) */
    /* dataset.c's own, for sets in sequence. */
    struct held *held;
    struct skips *skips;
};

struct dataset_format {
    const char *name;
    /* Is this what lies at path? Formats are asked in the order of dataset.c's list. */
    bool (*recognize)(const char *path);
    /* Fills set. On failure close() is called as well, so state may be half-made. */
    int (*open)(struct dataset *set, const struct dataset_place *place);
    int (*get)(const struct dataset *set, int64_t i, struct sample *s);
    int64_t (*label)(const struct dataset *set, int64_t i);
    /* For sets in sequence, which need neither get() nor label(): as dataset_next() and
     * dataset_rewind(). Where labels follow from names, next() sets class_name and leaves label at
     * -1. */
    int (*next)(struct dataset *set, struct sample *s);
    int (*rewind)(struct dataset *set);
    void (*close)(struct dataset *set); /* frees state */
};

/* For a format that met an archive which breaks off, with the message set: 0: go on behind it, -1:
 * fail. */
int dataset_broke_off(const struct dataset *set);

/* Is there a folder, or a regular file, of that name? */
bool dataset_is_folder(const char *path);
bool dataset_is_file(const char *path);

/* The path of a folder's first file, in the order of bytes, whose name fits a split ("train",
 * "test", or NULL: any); the caller's. Names that begin with a dot are left out. NULL, without a
 * message, if there is none. */
char *dataset_find(const char *folder, bool (*fits)(const char *name, const char *split),
                   const char *split);

/* A file, FIFO, or stdin: copies its first n bytes without taking them away, waiting for them. How
 * many there are; fewer at the end. 0 where that is not possible. */
size_t dataset_peek(const char *path, void *bytes, size_t n);

extern const struct dataset_format dataset_shapes, dataset_cifar10, dataset_cifar100, dataset_idx,
    dataset_frames, dataset_tar, dataset_folder, dataset_series;

#endif
