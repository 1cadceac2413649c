/* dataset: labelled images by number, wherever they come from.
 *
 *   cifar10  a folder with data_batch_1.bin to data_batch_5.bin (any of them) and test_batch.bin
 *   folder   a folder per class with PNG files; classes and files sorted by the bytes of their
 * names shapes   built in: ten classes of drawn shapes, no file at all
 *
 * A format is one dataset_NAME.c (see dataset_format.h). */
#ifndef DATASET_H
#define DATASET_H

#include <stdint.h>

#include "image.h"

struct dataset;

/* The formats' names as options_parse() wants choices: "auto|cifar10|...". */
extern const char dataset_formats[];

/* Opens what lies at path. format is one of dataset_formats: "auto" looks. split is "train" or
 * "test"; a folder takes its sub-folder of that name if there is one. size is the pixels that
 * views will have, for sets that can be drawn at any size. NULL with a message that names the file
 * and its defect. */
struct dataset *dataset_open(const char *path, const char *format, const char *split, int size);
void dataset_close(struct dataset *set); /* NULL is fine */

int64_t dataset_count(const struct dataset *set);
int dataset_classes(const struct dataset *set); /* 0: no labels */
/* Side of the images as far as it is known without reading them all: that of the first, if it is
 * square; else 0. */
int dataset_native_size(const struct dataset *set);

/* Image i, 0 <= i < count, with its label. The pixels stay valid until image is used again or the
 * set is closed. Several threads may call this at once, each with its own image. */
int dataset_get(const struct dataset *set, int64_t i, struct image *image);

#endif
