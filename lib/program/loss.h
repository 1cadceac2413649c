/* loss: the code that the loss programs share (ntxent, supcon, ...). Each of them answers
 * projections with the gradient of its loss. Such a program provides a loss function
 * (loss/loss_types.h) and its own flags; cmd/ntxent/ntxent.c is a complete example. */
#ifndef LOSS_H
#define LOSS_H

#include "cli/options.h"
#include "loss/loss_types.h"

/* The flag --threads, and --no-normalize, which a loss that reads in->normalize takes. A program
 * also takes server_option_specs and link_option_specs (link_options.h). Call loss_defaults()
 * before options_parse(): it sets the default of --threads. */
extern const struct option_spec loss_option_specs[];
extern const struct option_spec loss_normalize_option_specs[];
void loss_defaults(void);

/* What a loss does with `z_target` F32 [B,V,d], the projections of a momentum encoder. */
enum loss_target {
    LOSS_TARGET_UNUSED,
    LOSS_TARGET_TAKEN, /* in->target is NULL if a request has none */
    LOSS_TARGET_NEEDED /* a request without it is an error */
};

/* The part that each loss program provides. */
struct loss {
    bool labels; /* the loss takes `y` I64 [B] and any number of views; otherwise requests must
                    have two views, and y is not read */
    enum loss_target target;
    const char *single; /* what a batch of a single image lacks, for the message that refuses it:
                           "negatives"; NULL if the loss is defined for it */
    /* Computes the gradient dz F32 (n, d) and the metrics of one batch. Returns 0, or -1 with a
     * message. */
    int (*compute)(const struct loss_input *in, float *dz, struct loss_metrics *metrics);
};

/* Runs the rest of the program after options_parse(): serves requests until all callers have ended.
 * Prints messages and returns the program's exit status.
 *
 * A request has `z` F32 [B,V,d]. The reply has `dz` F32 [B,V,d], the request's metadata, and
 * `loss`, `contrast_acc` and `contrast_entropy`. A metric that is NAN is left out, except for the
 * loss: a loss that is not finite ends the program. `z_std` and `alignment` (base/spread.h) are
 * measured here, so every loss reports them; one view has no alignment. */
int loss_run(const struct loss *loss);

#endif
