/* cifar_batch: the images in one of CIFAR's files, in its binary version or as a pickle of Python.
 *
 *   binary   records of one or two bytes with labels, the last of which counts, and 3072 bytes of
 *            pixels
 *   pickle   a dict with `data`, an array of numpy U8 (N,3072), and labels under a key: a list or
 *            an array of integers
 *
 * The pixels of an image are U8 (3,32,32) in the file, and U8 (32,32,3) here. */
#ifndef CIFAR_BATCH_H
#define CIFAR_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "data/sample.h"

enum { CIFAR_SIDE = 32, CIFAR_PIXELS = 3 * CIFAR_SIDE * CIFAR_SIDE, CIFAR_KEPT = CIFAR_PIXELS + 1 };

/* Images, which start as {0}. The caller frees them with cifar_images_free(). */
struct cifar_images {
    uint8_t *images; /* U8 (count,CIFAR_KEPT): the pixels of an image, then its label */
    int64_t count;
    size_t bytes; /* what `images` has room for, in memory of large_pages.h */
};

void cifar_images_free(struct cifar_images *c); /* leaves {0} */

/* Add the images of a file whose bytes are in the sample, the first one from records with
 * `label_bytes` labels, the second one from a pickle. Labels are below `classes`. Return -1 with a
 * message. */
int cifar_batch_add_records(struct cifar_images *c, const struct sample *file, size_t label_bytes,
                            int classes);
int cifar_batch_add_pickle(struct cifar_images *c, const struct sample *file, const char *labels,
                           int classes);

/* Reads the names of the classes from a pickled dict, whose list `key` must hold as many texts.
 * *text gets the memory that the names are in; the caller frees it. Returns -1 with a message. */
int cifar_batch_pickled_names(const struct sample *file, const char *key, int classes,
                              const char **names, char **text);

#endif
