/* same_classes: brings the labels of two sets, one to learn from and one to be judged on, to one
 * numbering. */
#ifndef SAME_CLASSES_H
#define SAME_CLASSES_H

#include "evaluate/feature_set.h"
#include "frame/class_names.h"

enum { SAME_CLASSES_TEXT = 512 };

/* Where both sets have class names, both sets' labels become numbers of the union of the names:
 * train's in their order, then those that test alone has; *names, which starts as {0}, gets them,
 * and both sets' `classes` is their number. Where neither has names nothing changes. -1 with a
 * message that calls the sets by their names: one alone has class names, or they share none. */
int same_classes(struct feature_set *train, const char *train_name, struct feature_set *test,
                 const char *test_name, struct class_names *names);

/* How many classes have rows in f and none in `other`. *rows is how many those are, and text gets
 * the first few classes, by name if there are names, else by number. -1 with a message: memory is
 * out. */
int same_classes_alone(const struct feature_set *f, const struct feature_set *other, int classes,
                       const struct class_names *names, int64_t *rows,
                       char text[SAME_CLASSES_TEXT]);

#endif
