/* run_state: how far a training run has come, as its saved state says. */
#ifndef RUN_STATE_H
#define RUN_STATE_H

#include <stdbool.h>
#include <stdint.h>

struct run_state {
    bool saved;          /* there is a state; if not, the rest is 0 */
    int64_t step, steps; /* made, and of the whole run */
};

/* Reads DIR/state.safetensors: its header, and whether the file is as long as the header says. A
 * state that is not there is none; one that is damaged, or no optimizer's, is -1 with a message. */
int run_state_read(const char *folder, struct run_state *state);

/* Whether the file is one whole frame, by its header and its length; -1 with a message if not. */
int run_file_check(const char *path);

/* Writes the parameters and buffers of DIR/state.safetensors to DIR/model.safetensors, as the
 * optimizer does at the end. -1 with a message. */
int run_state_export(const char *folder);

#endif
