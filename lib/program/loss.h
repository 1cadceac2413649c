/* loss: the code that the loss programs share (ntxent, supcon, ...). Each of them answers
 * projections with the gradient of its loss. Such a program provides a loss function
 * (loss/loss_types.h) and its own flags; cmd/ntlogistic/ntlogistic.c is a complete example, and
 * cmd/ntxent/ntxent.c one of a loss with state. */
#ifndef LOSS_H
#define LOSS_H

#include "cli/options.h"
#include "frame/frame.h"
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

/* The flag --opt of a loss that keeps state, and whether it was given. */
extern const struct option_spec loss_state_option_specs[];
bool loss_has_optimizer(void);

/* A tensor of a loss's state: what it keeps from one batch to the next. */
struct loss_tensor {
    const char *name; /* begins with "loss." and has no '/' */
    enum dtype dtype;
    int ndim;
    int64_t shape[FRAME_MAX_DIMS];
    void *data; /* row-major; the loss owns it, and keeps it until loss_run() has returned */
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
    /* These are NULL for a loss without state. open() is called before the first batch is computed,
     * with that batch: it makes the state's tensors with their initial values, points *tensors to
     * them and returns their number, or -1 with a message. check() is called after the values of a
     * resumed run were stored: it returns -1 with a message if they make no sense. compute()
     * changes the values. */
    int (*open)(const struct loss_input *first, const struct loss_tensor **tensors);
    int (*check)(void);
};

/* Runs the rest of the program after options_parse(): serves requests until all callers have ended.
 * Prints messages and returns the program's exit status.
 *
 * A request has `z` F32 [B,V,d]. The reply has `dz` F32 [B,V,d], the request's metadata, and
 * `loss`, `contrast_acc` and `contrast_entropy`. A metric that is NAN is left out, except for the
 * loss: a loss that is not finite ends the program. `z_std` and `alignment` (base/spread.h) are
 * measured here, so every loss reports them; one view has no alignment.
 *
 * The state of a loss belongs to the optimizer at --opt, as parameters do: the loss joins with its
 * initial values, takes those that are in force, and sends new ones in each step
 * (loss_state.h). Without --opt it keeps them only while it runs, and refuses a run that does not
 * begin at step 0. */
int loss_run(const struct loss *loss);

#endif
