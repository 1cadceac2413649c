/* optimizer_state: everything that an optimizer keeps between two steps, and its two files.
 *
 * The state (kind "state") holds parameters, buffers, the slots as SLOT/NAME, slow copies as
 * ema/NAME (ema.h), the next step, and the settings it was made with: everything that a resumed run
 * needs. The model (kind "model") holds the parameters and buffers, without the state of a loss
 * (parameter_name.h). Both hold what the clients are (description.h). Files are written completely
 * or not at all (frame_save()). */
#ifndef OPTIMIZER_STATE_H
#define OPTIMIZER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "program/description.h"
#include "program/optimizer_options.h"
#include "program/optimizer_rule.h"
#include "program/optimizer_settings.h"
#include "program/optimizer_store.h"

/* Everything that an optimizer keeps between two steps. */
struct optimizer_state {
    const struct optimizer_rule *rule;
    const struct optimizer_config *config;
    struct optimizer_store store;
    struct optimizer_settings settings;
    struct descriptions described; /* what the clients are */
    int64_t step;                  /* the current step; all steps before it are complete */
    int64_t steps;                 /* steps of the whole run, from the last request; 0 if unknown */
    int64_t saved; /* the step at which config->state was written or read; -1 before that */
};

/* Initializes an empty state at step 0. Both arguments must outlive the state. */
void optimizer_state_init(struct optimizer_state *s, const struct optimizer_rule *rule,
                          const struct optimizer_config *config);
void optimizer_state_release(struct optimizer_state *s);

/* Returns a new frame with all tensors: with `slots` a state, otherwise a model. Returns NULL with
 * a message. */
struct frame *optimizer_state_pack(const struct optimizer_state *s, bool slots);

/* Writes config->state, unless it already holds this step. This function and the next two write one
 * file each, and return 0, or -1 with a message. They write nothing if the path is "" or no client
 * ever joined. A value that is not finite is an error, and the file stays as it was. */
int optimizer_state_save(struct optimizer_state *s);
/* Writes config->model. */
int optimizer_state_save_model(const struct optimizer_state *s);
/* Writes config->model with the step in its name, if config->keep_every divides the step. */
int optimizer_state_keep_model(const struct optimizer_state *s);

/* Reads config->state, and checks that it belongs to this optimizer and was made with the same
 * flags. Returns -1 with a message. */
int optimizer_state_load(struct optimizer_state *s);

#endif
