/* part_files: the files of a data set that has one file for each part, or is a single file. */
#ifndef PART_FILES_H
#define PART_FILES_H

#include <stdbool.h>

#include "data/dataset.h"
#include "data/part.h"

struct part_files {
    char *wanted;                    /* the file of the wanted split */
    char *parts[PART_UNLABELED + 1]; /* by enum part: the first file of each part, or NULL */
};

/* Finds the files among those of the folder options->path for whose names `fits` returns true;
 * part_of() says which part a name means. If options->path is a file, it is the training part. A
 * file in a folder that names no part is the training part if it is the only such one and no file
 * names the training part. Of a file and its .gz twin the first is taken. Returns -1 with a message
 * if the part is missing or has several files. part_files_free() in any case. */
int part_files_find(const struct dataset_options *options, bool (*fits)(const char *name),
                    enum part (*part_of)(const char *name), struct part_files *files);
void part_files_free(struct part_files *files); /* leaves {0} */

#endif
