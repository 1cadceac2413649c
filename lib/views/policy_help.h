/* policy_help: the part of --help about operations and policies, which is written from their
 * tables. */
#ifndef POLICY_HELP_H
#define POLICY_HELP_H

#include <stdio.h>

/* Explains the lists of --ops and --policy: a line for each operation, with its syntax, defaults
 * and parameters, and a line for each policy; first for images, then for series. */
void policy_help_lists(FILE *file);

/* Print names separated by bars, in the form of the choices in options.h: of all policies; of
 * `class` and the operations on images that can be a --target. */
void policy_help_names(FILE *file);
void policy_help_targets(FILE *file);

#endif
