/* stage: a program that is a network: encode, project and classify.
 *
 * Forward-only, a stage answers each request with its output, in evaluation mode. With --next, or
 * with a loss of its own and --opt, it trains: it sends its output there, gets that output's
 * gradient back, sends the gradients of its parameters to --opt while the backward pass is still
 * running, and answers its own caller. */
#ifndef STAGE_H
#define STAGE_H

#include "cli/options.h"
#include "network/network.h"

/* The flags --opt, --init, --seed, --wire, --threads, --precision and --kernel; and, for a stage
 * without a loss of its own, --next and --sync. A program takes server_option_specs too. Call
 * stage_defaults() before options_parse(). */
extern const struct option_spec stage_option_specs[], stage_link_option_specs[];
void stage_defaults(void);

struct stage {
    const char *input, *output; /* tensors: "x" and "h"; their gradients are "dx" and "dh" */
    bool images;                /* the input is [B,V,H,W,C], U8 or F32; else F32 [B,V,C] */
    struct normalization normalization; /* of U8 input */
    /* NULL, or called with the first request, before make_plan. -1 with a message. */
    int (*begin)(const struct frame *request);
    /* The network for the first request's input. NULL with a message. */
    struct plan *(*make_plan)(const struct tensor *input);
    int64_t chunk; /* images that training has in memory at a time (network.h); 0: all */
    /* NULL, or what stands in the place of a next link: given the request with the output in the
     * input's place, a new frame with the output's gradient, `loss` and other metrics. NULL with a
     * message. */
    struct frame *(*loss)(const struct frame *output, int threads);
    const char *flags; /* that make the network, for messages: "--layers or --dim" */
    const char *part;  /* what names of its tensors begin with, for the identity, which has none */
    bool identity;     /* no network: the output is the input, and make_plan is not called */
    bool metrics;      /* the head of the pipeline: a training request is answered with a frame of
                          metadata, and the input's gradient is not computed */
};

/* Serves requests until the callers are done; the program's exit status. Ends the program with
 * status 2 when flags do not fit together. */
int stage_run(const struct stage *stage);

#endif
