/* stage_options: the flags that encode, project and classify share, and their values. */
#ifndef STAGE_OPTIONS_H
#define STAGE_OPTIONS_H

#include <stdint.h>

#include "cli/options.h"

/* The settings that the flags of a stage give. */
struct stage_config {
    const char *next, *opt, *sync; /* links; "" if not given */
    const char *wire;              /* "fp32" or "bf16" */
    const char *init, *like;       /* paths of checkpoints, or "" */
    const char *precision, *kernel, *device;
    int64_t seed, threads;
    double ema; /* momentum of the slow copy; EMA_NONE if not given (ema.h) */
};
extern struct stage_config stage_options;

/* The flags --opt, --init, --like, --seed, --wire, --threads, --precision, --kernel and --device,
 * and, for a stage without a loss of its own, --next, --sync and --ema. A program also takes
 * server_option_specs and link_option_specs (link_options.h). */
extern const struct option_spec stage_option_specs[], stage_link_option_specs[];

/* Sets the default of --threads. Call it before options_parse(). */
void stage_options_defaults(void);

#endif
