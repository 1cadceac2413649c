#include "views/policy_help.h"

#include <stdbool.h>

#include "views/operation.h"
#include "views/policy.h"

/* Prints the operation with its defaults: "blur:0.5:0.1-2". */
static void print_syntax(FILE *file, const struct operation *operation)
{
    char text[64];
    int n = snprintf(text, sizeof text, "%s", operation->name);
    for (int i = 0; i < OPERATION_MAX_PARAMETERS && operation->parameters[i].meaning; i++) {
        const struct operation_parameter *p = &operation->parameters[i];
        const bool range = p->kind == PARAMETER_RANGE || p->kind == PARAMETER_COUNTS;
        n += snprintf(text + n, sizeof text - (size_t)n, range ? ":%.5g-%.5g" : ":%.5g", p->low,
                      p->high);
    }
    fprintf(file, "  %-25s  ", text);
}

/* Prints a line for each operation: its syntax, and the meanings of its parameters. */
static void print_operations(FILE *file, const struct operation_set *set)
{
    for (const struct operation *const *o = set->operations; *o; o++) {
        print_syntax(file, *o);
        const struct operation_parameter *p = (*o)->parameters;
        for (int i = 0; i < OPERATION_MAX_PARAMETERS && p[i].meaning; i++)
            fprintf(file, "%s%s", i ? ", " : "", p[i].meaning);
        if ((*o)->note)
            fprintf(file, "%s%s", p[0].meaning ? "; " : "", (*o)->note);
        fputc('\n', file);
    }
}

/* Prints a line for each policy: its name and its list. */
static void print_policies(FILE *file, const struct operation_set *set)
{
    for (const struct policy_name *p = policy_names; p->name; p++)
        if (!p->set || p->set == set)
            fprintf(file, "  %-13s %s\n", p->name, p->ops);
}

void policy_help_lists(FILE *file)
{
    fputs("Operations of --ops and --ops2, applied in order (with their defaults):\n", file);
    print_operations(file, &operations_on_images);
    fputs("A policy's name stands for its list, as in simclr,solarize:\n", file);
    print_policies(file, &operations_on_images);
    fputs("--target rotate: y is 0 to 3 quarter turns; another operation: 1 where applied\n"
          "\n"
          "Operations on series:\n",
          file);
    print_operations(file, &operations_on_series);
    fputs("Policies for them:\n", file);
    print_policies(file, &operations_on_series);
}

void policy_help_names(FILE *file)
{
    for (const struct policy_name *p = policy_names; p->name; p++)
        fprintf(file, "%s%s", p == policy_names ? "" : "|", p->name);
}

void policy_help_targets(FILE *file)
{
    fputs("class", file);
    for (const struct operation *const *o = operations_on_images.operations; *o; o++)
        if (!(*o)->first)
            fprintf(file, "|%s", (*o)->name);
}
