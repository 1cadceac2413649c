/* policy: the operations that make a view, with the probability of each. */
#ifndef POLICY_H
#define POLICY_H

#include <stdbool.h>

#include "views/operation.h"

enum { POLICY_MAX_OPS = 16, POLICY_MAX_SIZE = 4096 /* of a view */ };

struct policy {
    struct operation_use ops[POLICY_MAX_OPS]; /* in order; the first is a `first` operation */
    int n_ops;
};

/* A list of operations that has a name. */
struct policy_name {
    const char *name;                /* NULL ends the table */
    const struct operation_set *set; /* the data that it is for; NULL: any data */
    const char *ops;
};
extern const struct policy_name policy_names[];

/* Returns the list of that name if it is for such data, else NULL. */
const char *policy_ops(const struct operation_set *set, const char *name);

/* Parses a list such as "crop:0.08-1,flip:0.5,jitter:0.8:0.5,gray:0.2". Arguments that are left out
 * have their defaults. The name of a policy is replaced by its list: "simclr,solarize:0.2". A list
 * without crop or center begins with the whole image. Returns -1 with a message that names the
 * unknown operation and the known ones, or the argument that is out of range. */
int policy_parse(struct policy *policy, const struct operation_set *set, const char *ops);

/* Returns true if the list begins with an operation for evaluation. */
bool policy_is_evaluation(const struct policy *policy);

/* Returns the operation of that name if its outcome can be the label of a view: the list contains
 * it once, it has more than one outcome, and it is not a `first` operation. Returns NULL with a
 * message otherwise. */
const struct operation *policy_target(const struct policy *policy, const char *name);

#endif
