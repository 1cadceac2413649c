/* dataset_format: what a dataset_NAME.c provides. dataset.c holds the list of formats. */
#ifndef DATASET_FORMAT_H
#define DATASET_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "image.h"

struct dataset {
    const struct dataset_format *format;
    int64_t count;
    int classes, native_size;
    bool test;   /* which split; for the formats that need it later */
    void *state; /* the format's own */
};

struct dataset_format {
    const char *name;
    /* Is this what lies at path? Formats are asked in the order of dataset.c's list. */
    bool (*recognize)(const char *path);
    /* Fills set. On failure close() is called as well, so state may be half-made. */
    int (*open)(struct dataset *set, const char *path, const char *split, int size);
    int (*get)(const struct dataset *set, int64_t i, struct image *image);
    void (*close)(struct dataset *set); /* frees state */
};

extern const struct dataset_format dataset_cifar10, dataset_folder, dataset_shapes;

#endif
