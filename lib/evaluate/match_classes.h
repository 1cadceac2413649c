/* match_classes: gives the labels of two sets, a training set and a test set, one numbering. */
#ifndef MATCH_CLASSES_H
#define MATCH_CLASSES_H

#include "evaluate/feature_set.h"
#include "frame/class_names.h"

/* Relabels both sets, if both have class names, with indices into the union of the names: first the
 * names of `train` in their order, then those that only `test` has. Stores the union in *names,
 * which must start as {0} and which the caller frees, and its size in the `classes` of both sets.
 * If neither set has names, changes nothing. Returns -1 with a message, which calls the sets
 * `train_name` and `test_name`, if only one set has class names, if the two share none, or if
 * memory is out. */
int match_classes(struct feature_set *train, const char *train_name, struct feature_set *test,
                  const char *test_name, struct class_names *names);

/* Prints a warning for classes that have test rows but no training rows, and one for classes that
 * have training rows but no test rows. Lists the first few of these classes, by name if `names` has
 * any, else by number. Labels of both sets are below `classes`. Returns -1 with a message if memory
 * is out. */
int match_classes_warn(const struct feature_set *train, const struct feature_set *test, int classes,
                       const struct class_names *names);

#endif
