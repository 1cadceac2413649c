/* part_files: the files of a data set that has one file for each part, or is a single file. */
#ifndef PART_FILES_H
#define PART_FILES_H

#include <stdbool.h>

#include "data/dataset.h"
#include "data/part.h"

struct part_files {
    char *wanted;                    /* the path of the wanted split's file */
    char *parts[PART_UNLABELED + 1]; /* by enum part: the first file of each part, or NULL */
};

/* Finds the files in the folder options->path for whose names `fits` returns true; part_of()
 * returns the part that a name means. If options->path is a file, it is the training part. A file
 * in a folder whose name means no part is the training part if it is the only such file and no
 * other file is the training part. Of a file and its .gz twin the first is used. Returns -1 with a
 * message if the part is missing or has several files. The caller calls part_files_free() in any
 * case. */
int part_files_find(const struct dataset_options *options, bool (*fits)(const char *name),
                    enum part (*part_of)(const char *name), struct part_files *files);
void part_files_free(struct part_files *files); /* leaves {0} */

#endif
