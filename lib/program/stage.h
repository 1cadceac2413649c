/* stage: the code that the programs with a network share: encode, project and classify.
 *
 * A forward-only stage answers each request with its output, in evaluation mode. With --next, or
 * with a loss of its own and --opt, a stage trains. It sends its output to --next and receives that
 * output's gradient. It sends the gradients of its parameters to --opt while the backward pass is
 * still running, receives the new values, and answers its own caller. */
#ifndef STAGE_H
#define STAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"
#include "network/network.h"

/* The part that each program with a network provides. */
struct stage {
    const char *input, *output; /* tensor names: "x" and "h"; their gradients are "dx" and "dh" */
    bool images;                /* the input is [B,V,H,W,C], U8 or F32; otherwise F32 [B,V,C] */
    struct normalization normalization; /* applied to U8 input */
    /* Called at the start with the file of --init or --like (weights/weights.h). Takes from it what
     * the flags leave open, and may change the stage. Returns 0, or -1 with a message if a flag
     * contradicts the file. */
    int (*configure)(struct stage *stage, const struct frame *weights);
    /* Writes what the network is into the metadata of its join (description.h). It is called after
     * make_plan, with the same input. */
    void (*describe)(const struct tensor *input, struct frame *join);
    const char
        *logit_names; /* names of the output's columns, which the first frame of a stream that
                                is not for training gets as `logit_names`; may be NULL */
    /* Called with the first request, before make_plan; may be NULL. Returns 0, or -1 with a
     * message. */
    int (*begin)(const struct frame *request);
    /* Returns a new plan of the network for the first request's input, or NULL with a message. */
    struct plan *(*make_plan)(const struct tensor *input);
    int64_t chunk; /* images in memory at a time during training (network.h); 0 for all */
    /* The stage's own loss, used in place of --next; may be NULL. It gets the request with the
     * output in the input's place. It returns a new frame with the output's gradient, `loss` and
     * other metrics, or NULL with a message. */
    struct frame *(*loss)(const struct frame *output, int threads);
    const char *flags; /* flags that set the network's shape, for messages: "--layers or --dim" */
    const char *part;  /* beginning of its tensors' names; used only for the identity */
    bool identity;     /* no network: the output is the input; make_plan is not called */
    bool metrics;      /* the head of the pipeline: a training request is answered with a frame of
                          metadata, and the input's gradient is not computed */
};

/* Runs the rest of the program after options_parse(): serves requests until all callers have ended.
 * Prints messages and returns the program's exit status. Ends the program with status 2 if flags
 * contradict each other. */
int stage_run(struct stage *stage);

#endif
