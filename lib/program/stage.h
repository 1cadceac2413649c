/* stage: what the programs that are a network share: encode, project and classify.
 *
 * Forward-only, a stage answers each request with its output, in evaluation mode. With --next, or
 * with a loss of its own and --opt, it trains. It then sends its output to --next and gets that
 * output's gradient back, sends the gradients of its parameters to --opt while the backward pass is
 * still running, takes the new values over, and answers its own caller. */
#ifndef STAGE_H
#define STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "network/network.h"

struct stage {
    const char *input, *output; /* tensors: "x" and "h"; their gradients are "dx" and "dh" */
    bool images;                /* the input is [B,V,H,W,C], U8 or F32; otherwise F32 [B,V,C] */
    struct normalization normalization; /* of U8 input */
    /* Called with the first request, before make_plan; may be NULL. Returns 0, or -1 with a
     * message. */
    int (*begin)(const struct frame *request);
    /* Returns a new plan of the network for the first request's input, or NULL with a message. */
    struct plan *(*make_plan)(const struct tensor *input);
    int64_t chunk; /* images that training has in memory at a time (network.h); 0: all */
    /* A loss of the stage's own, in place of --next; may be NULL. It gets the request with the
     * output in the input's place, and returns a new frame with the output's gradient, `loss` and
     * other metrics, or NULL with a message. */
    struct frame *(*loss)(const struct frame *output, int threads);
    const char *flags; /* the flags that make the network, for messages: "--layers or --dim" */
    const char *part;  /* what the names of its tensors begin with; used for the identity alone */
    bool identity; /* there is no network: the output is the input, and make_plan is not called */
    bool metrics;  /* the head of the pipeline: a training request is answered by a frame of
                          metadata, and the input's gradient is not computed */
};

/* The rest of the program after options_parse(): serves requests until all callers have ended.
 * Returns the program's exit status; messages are printed. Ends the program with status 2 if flags
 * contradict each other. */
int stage_run(const struct stage *stage);

#endif
