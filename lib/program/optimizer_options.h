/* optimizer_options: the flags that all optimizer programs share, from --lr to --resume. */
#ifndef OPTIMIZER_OPTIONS_H
#define OPTIMIZER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/options.h"
#include "optimizer/schedule.h"

/* The settings that the flags of an optimizer give. */
struct optimizer_config {
    struct schedule schedule;
    const char *state;  /* path of the state, or "" to write none */
    const char *model;  /* path of the model, or "" */
    int64_t save_every; /* steps between two states; 0 writes one at the end only */
    /* Steps between two models that are kept beside `model`; 0 keeps none. The contents that
     * model.safetensors would have after step 200 are kept as model-200.safetensors, and so on. A
     * model is written before the state of its step, so a resumed run never lacks one. If a resumed
     * run reaches a step again, it replaces that step's model by the same bytes. */
    int64_t keep_every;
    bool resume; /* start from the file `state` */
};

/* The table of the flags. Those of the learning rate come first, before the heading "state". */
extern const struct option_spec optimizer_option_specs[];

/* The learning rates that are used without --lr and --base-lr, and the default of --warmup. */
struct optimizer_defaults {
    double linear_lr, sqrt_lr; /* base rates: x batch / 256, x sqrt(batch) */
    double warmup_epochs;
};

/* Sets the defaults; call it before options_parse(). Without this call they are those of lars: 0.3,
 * 0.075 and 10 epochs. */
void optimizer_options_set_defaults(const struct optimizer_defaults *defaults);

/* Returns the settings that the flags give; call it after options_parse(). Paths point to the
 * program's arguments. */
struct optimizer_config optimizer_options_config(void);

#endif
