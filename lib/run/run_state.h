/* run_state: the number of steps that a training run has made, according to its saved state. */
#ifndef RUN_STATE_H
#define RUN_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* The position of a training run. */
struct run_state {
    bool saved;          /* a state has been saved; if not, the other members are 0 */
    int64_t step, steps; /* steps made, and steps of the whole run */
};

/* Reads the header of DIR/state.safetensors, and checks that the file has the length that the
 * header gives. A missing file is not an error. Returns -1 with a message if the file is damaged or
 * is not an optimizer's state. */
int run_state_read(const char *folder, struct run_state *state);

/* Checks that the file at `path` is one complete frame, by its header and its length. Returns -1
 * with a message if it is not, or if it is missing. */
int run_state_check_file(const char *path);

/* Writes the parameters and buffers of DIR/state.safetensors to DIR/model.safetensors, as the
 * optimizer does after the last step. Returns -1 with a message. */
int run_state_export(const char *folder);

#endif
