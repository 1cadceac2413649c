/* policy_help: what --help says of operations and policies, written from their tables. */
#ifndef POLICY_HELP_H
#define POLICY_HELP_H

#include <stdio.h>

/* Explains the lists of --ops and --policy: a line for each operation, with its syntax, defaults
 * and parameters, and one for each policy; of images, and then of series. */
void policy_help_lists(FILE *file);

/* Names with a bar between them, as options.h wants choices: of all policies; and of `class` and
 * the operations on images that can be a --target. */
void policy_help_names(FILE *file);
void policy_help_targets(FILE *file);

#endif
