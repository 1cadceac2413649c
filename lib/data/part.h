/* parts: the names that mean the parts of a data set. */
#ifndef PARTS_H
#define PARTS_H

#include <stddef.h>

/* The part that a name of n bytes means. */
enum part { PART_NONE, PART_TRAIN, PART_TEST, PART_VALIDATION, PART_UNLABELED };
enum part part_named(const char *name, size_t n);
/* The part that a file's name tells: by one of its words ("ECG200_TRAIN.tsv"), or, where none does,
 * by any letters of it ("mytest.csv"). PART_NONE: it tells none, or more than one. */
enum part part_of_file(const char *name);

/* Leaves the message that a part is missing: -1. */
int part_missing(const char *name, const char *split);
/* Leaves the message that there is a test part, and --hold wants one made: -1. */
int part_refuse_hold(const char *name);

#endif
