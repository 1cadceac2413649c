/* logits: evaluates a classifier by the logits that it has computed. Nothing is trained. */
#ifndef LOGITS_H
#define LOGITS_H

#include "evaluate/feature_set.h"
#include "evaluate/progress_line.h"
#include "evaluate/scores.h"

/* Reads a stream of frames with `logits` F32 [B,C] or [B,1,C] and labels `y`, as feature_set_read()
 * does, and sets test->classes to C.
 *
 * If the first frame has `logit_names`, the names of the classes that the classifier knows, the
 * labels are matched with them by name: they become indices into these names and, after them, those
 * of class_names that the classifier does not know. test->names becomes this list, and
 * test->classes its length. A warning on stderr names the unknown classes, whose rows count as
 * wrong.
 *
 * Returns -1 with a message, also if a label is C or more, if the stream names another number of
 * classes than C, or if it names only one of logits and labels, or both without a common name. */
int logits_read(struct feature_set *test, const char *endpoint, const struct link_config *links,
                progress_line *progress);

/* Writes predictions [test->n] with the logits as scores. Returns -1 with a message if memory is
 * out. */
int logits_classify(const struct feature_set *test, struct prediction *predictions);

#endif
