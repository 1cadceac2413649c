/* optimizer_state: what an optimizer remembers between two steps, and its two files.
 *
 * The state (kind "state") holds parameters, buffers, the slots as SLOT/NAME, the next step, and
 * the settings it was made with: all that a resumed run needs. The model (kind "model") holds the
 * parameters and buffers. Files are written as a whole or not at all (frame_save()). */
#ifndef OPTIMIZER_STATE_H
#define OPTIMIZER_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "program/optimizer_options.h"
#include "program/optimizer_rule.h"
#include "program/optimizer_settings.h"
#include "program/optimizer_store.h"

struct optimizer_state {
    const struct optimizer_rule *rule;
    const struct optimizer_config *config;
    struct optimizer_store store;
    struct optimizer_settings settings;
    int64_t step;  /* the one under way: all before it are complete */
    int64_t steps; /* of the whole run, as the last request said; 0: none did */
    int64_t saved; /* the step that config->state was written or read at; -1: not yet */
};

/* Begins empty, at step 0. Both arguments must outlive the state. */
void optimizer_state_init(struct optimizer_state *s, const struct optimizer_rule *rule,
                          const struct optimizer_config *config);
void optimizer_state_release(struct optimizer_state *s);

/* Returns a new frame with all tensors, with `slots` as a state, else as a model. NULL with a
 * message. */
struct frame *optimizer_state_pack(const struct optimizer_state *s, bool slots);

/* Each writes one file and returns 0, or -1 with a message. Without a path nothing is written, and
 * neither if no client ever joined. If a value is not finite, it is an error and the file stays as
 * it was. */
int optimizer_state_save(
    struct optimizer_state *s); /* config->state, unless this step's is there */
int optimizer_state_save_model(const struct optimizer_state *s); /* config->model */
/* config->model with the step in its name, if config->keep_every divides the step. */
int optimizer_state_keep_model(const struct optimizer_state *s);

/* Reads config->state, and checks that it is of this optimizer and was made with the same flags.
 * Returns -1 with a message. */
int optimizer_state_load(struct optimizer_state *s);

#endif
