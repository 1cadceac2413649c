/* loss: a program that answers projections by the gradient of a loss: ntxent, supcon, ... */
#ifndef LOSS_H
#define LOSS_H

#include "cli/options.h"
#include "loss/similarity.h"

/* The flags --no-normalize and --threads; a program takes server_option_specs and
 * link_option_specs too. Call loss_defaults() before options_parse(). */
extern const struct option_spec loss_option_specs[];
void loss_defaults(void);

/* What one batch is to a loss. */
struct loss_batch {
    struct similarity_input in; /* n = images x views rows; the views of an image are neighbours */
    int64_t views;
    const int64_t *labels; /* (n / views), -1 without one; NULL unless asked for */
};

struct loss {
    bool labels; /* takes `y` I64 [B] and any number of views; else there are two, and no y */
    /* dz (n, d) and the metrics. -1 with a message. */
    int (*compute)(const struct loss_batch *batch, float *dz, struct similarity_metrics *metrics);
};

/* Serves requests until the callers are done; the program's exit status. A request has `z` F32
 * [B,V,d]; the reply has `dz` of this shape, the request's metadata, and `loss`, `contrast_acc` and
 * `contrast_entropy`, without those that the loss does not tell (NAN). A loss that is not finite is
 * a failure, and so is a batch of one image, which has no negatives. */
int loss_run(const struct loss *loss);

#endif
