/* part: the names that mean the parts of a data set. layout.h has the table. */
#ifndef PART_H
#define PART_H

#include <stddef.h>

enum part { PART_NONE, PART_TRAIN, PART_TEST, PART_VALIDATION, PART_UNLABELED };

/* Returns the part that a name of n bytes means, or PART_NONE. */
enum part part_named(const char *name, size_t n);
/* Returns the part that a file's name means: by one of its words ("ECG200_TRAIN.tsv"), or if no
 * word does, by any letters of it ("mytest.csv"). Returns PART_NONE if it means none, or more than
 * one. */
enum part part_of_file(const char *name);

/* Leaves the message that data has no part for the split. Returns -1. */
int part_missing(const char *name, const char *split);
/* Leaves the message that data has a test part, so --hold cannot be used with it. Returns -1. */
int part_refuse_hold(const char *name);

#endif
