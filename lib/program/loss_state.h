/* loss_state: the link of a loss with state (loss.h) to the optimizer that owns the state. The loss
 * speaks as any stage does (docs/stages.md): a join with its tensors, then their new values in each
 * step, with `kind` = `gradients`. It owes them: the optimizer's step is complete, and its state
 * may be saved, only when they have come. Functions return 0, or -1 with a message. */
#ifndef LOSS_STATE_H
#define LOSS_STATE_H

#include "program/loss.h"

/* The state of a running loss. */
struct loss_state;

/* Opens the link `opt`; "" means that no optimizer keeps the state. Returns NULL with a message. */
struct loss_state *loss_state_open(const char *opt);

/* On the first call, makes the state for this batch and joins: the tensors get the values that are
 * in force, and the optimizer's step must be the request's. Without an optimizer that must be step
 * 0. Later calls do nothing. */
int loss_state_begin(struct loss_state *s, const struct loss *loss, const struct loss_input *first,
                     const struct frame *request);

/* Sends the tensors' values after the request's batch, and waits until the optimizer has them. */
int loss_state_send(struct loss_state *s, const struct frame *request);

/* Ends the link and waits until its peer has ended. Frees s in any case. */
int loss_state_end(struct loss_state *s);
/* Closes the link without an end frame, after a failure, and frees s, which may be NULL. */
void loss_state_abandon(struct loss_state *s);

#endif
