#include "views/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

/* The first two policies are those of SimCLR (Chen et al. 2020): appendix A, and B.9 for
 * CIFAR-10. */
const struct policy_name policy_names[] = {
    {"simclr", &operations_on_images, "crop:0.08-1,flip:0.5,jitter:0.8:1,gray:0.2,blur:0.5:0.1-2"},
    {"simclr-cifar", &operations_on_images, "crop:0.08-1,flip:0.5,jitter:0.8:0.5,gray:0.2"},
    {"simclr-series", &operations_on_series,
     "crop:0.5-1,scaling:0.8:0.5-1.5,trend:0.8:2,jitter:0.8:0-0.3"},
    {"eval", NULL, "center"},
    {0},
};

/* Returns the list whose name is the `length` characters at `name`, or NULL. */
static const char *ops_named(const struct operation_set *set, const char *name, size_t length)
{
    for (const struct policy_name *p = policy_names; p->name; p++)
        if ((!p->set || p->set == set) && strlen(p->name) == length &&
            strncmp(p->name, name, length) == 0)
            return p->ops;
    return NULL;
}

const char *policy_ops(const struct operation_set *set, const char *name)
{
    return ops_named(set, name, strlen(name));
}

/* ---- parsing ---- */

/* Reads a number in [min,max] at *text and moves past it. */
static int parse_number(const char **text, double min, double max, const char *op, double *out)
{
    char *end;
    const double x = strtod(*text, &end);
    if (end == *text)
        return fail("%s: '%s' is not a number", op, *text);
    if (!(x >= min && x <= max))
        return fail("%s: %.*s is not between %g and %g", op, (int)(end - *text), *text, min, max);
    *text = end;
    *out = x;
    return 0;
}

/* Reads a range: "0.08-1", or "0.5" for 0.5-0.5. */
static int parse_range(const char **text, double min, double max, const char *op,
                       struct operation_range *range)
{
    if (parse_number(text, min, max, op, &range->low))
        return -1;
    range->high = range->low;
    if (**text == '-') {
        ++*text;
        if (parse_number(text, min, max, op, &range->high))
            return -1;
    }
    return range->low <= range->high ? 0
                                     : fail("%s: %g-%g runs backward", op, range->low, range->high);
}

static int parse_value(const char **text, const struct operation_parameter *parameter,
                       struct operation_use *use, struct operation_range *value)
{
    const char *name = use->operation->name;
    const double min = parameter->min, max = parameter->max;
    switch (parameter->kind) {
    case PARAMETER_PROBABILITY:
        return parse_number(text, 0, 1, name, &use->p);
    case PARAMETER_NUMBER:
        if (parse_number(text, min, max, name, &value->low))
            return -1;
        value->high = value->low;
        return 0;
    case PARAMETER_RANGE:
        return parse_range(text, min, max, name, value);
    case PARAMETER_COUNTS:
        if (parse_range(text, min, max, name, value))
            return -1;
        if (value->low != rint(value->low) || value->high != rint(value->high))
            return fail("%s: %g-%g: not whole numbers", name, value->low, value->high);
        return 0;
    }
    return -1;
}

static int fail_unknown(const struct operation_set *set, const char *name, size_t length)
{
    char known[256] = "";
    for (const struct operation *const *o = set->operations; *o; o++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", (*o)->name);
    }
    return fail("unknown operation '%.*s' (there are %s)", (int)length, name, known);
}

static void set_defaults(struct operation_use *use, const struct operation *operation)
{
    *use = (struct operation_use){.operation = operation, .p = 1};
    for (int i = 0; i < OPERATION_MAX_PARAMETERS && operation->parameters[i].meaning; i++) {
        const struct operation_parameter *parameter = &operation->parameters[i];
        use->values[i] = (struct operation_range){parameter->low, parameter->high};
        if (parameter->kind == PARAMETER_PROBABILITY)
            use->p = parameter->low;
    }
}

/* Reads one operation, up to a comma or the end. */
static int parse_use(const struct operation_set *set, const char **text, struct operation_use *use)
{
    const size_t length = strcspn(*text, ":,");
    const struct operation *operation = operation_find(set, *text, length);
    if (!operation)
        return fail_unknown(set, *text, length);
    set_defaults(use, operation);
    *text += length;
    for (int i = 0; **text == ':'; i++) {
        ++*text;
        if (i == OPERATION_MAX_PARAMETERS || !operation->parameters[i].meaning)
            return fail("%s: ':%s' is one argument too many", operation->name, *text);
        if (parse_value(text, &operation->parameters[i], use, &use->values[i]))
            return -1;
    }
    if (**text != ',' && **text != '\0')
        return fail("%s: cannot make sense of '%s'", operation->name, *text);
    return 0;
}

static int append(const struct operation_set *set, struct policy *policy,
                  const struct operation_use *use)
{
    if (use->operation->first && policy->n_ops > 0)
        return fail("%s has to come first", use->operation->name);
    if (!use->operation->first && policy->n_ops == 0)
        policy->ops[policy->n_ops++] = (struct operation_use){.operation = set->operations[0]};
    if (policy->n_ops == POLICY_MAX_OPS)
        return fail("more than %d operations", POLICY_MAX_OPS);
    policy->ops[policy->n_ops++] = *use;
    return 0;
}

static int append_list(const struct operation_set *set, struct policy *policy, const char *text)
{
    for (;; text++) {
        const char *named = ops_named(set, text, strcspn(text, ","));
        struct operation_use use;
        if (named) {
            if (append_list(set, policy, named))
                return -1;
            text += strcspn(text, ",");
        } else if (parse_use(set, &text, &use) || append(set, policy, &use)) {
            return -1;
        }
        if (*text == '\0')
            return 0;
    }
}

int policy_parse(struct policy *policy, const struct operation_set *set, const char *ops)
{
    policy->n_ops = 0;
    return append_list(set, policy, ops);
}

/* ---- what a policy is for ---- */

bool policy_is_evaluation(const struct policy *policy)
{
    return policy->ops[0].operation->evaluation;
}

const struct operation *policy_target(const struct policy *policy, const char *name)
{
    const struct operation_use *found = NULL;
    for (int i = 0; i < policy->n_ops; i++) {
        const struct operation_use *use = &policy->ops[i];
        if (use->operation->first || strcmp(use->operation->name, name) != 0)
            continue;
        if (found)
            return fail_null("%s is among the operations twice", name);
        found = use;
    }
    if (!found)
        return fail_null("%s is not among the operations whose outcome is drawn", name);
    if (found->p == 0 || (found->p == 1 && found->operation->n_outcomes < 2))
        return fail_null("%s comes out the same in every view: its probability is %g", name,
                         found->p);
    return found->operation;
}
