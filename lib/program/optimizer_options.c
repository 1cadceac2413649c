#include "program/optimizer_options.h"

#include <stdio.h>
#include <string.h>

static struct optimizer_config config = {
    .schedule = {.lr = -1, .base_lr = -1, .warmup_epochs = 10, .warmup_steps = -1},
    .state = "",
    .model = "",
    .save_every = 100};
static const char *scaling = "linear", *shape = "cosine";
static struct optimizer_defaults defaults = {.linear_lr = 0.3, .sqrt_lr = 0.075};
static char base_lr_help[96] = "without: 0.3 for linear, 0.075 for sqrt scaling";

const struct option_spec optimizer_option_specs[] = {
    {.kind = OPTION_HEADING, .help = "learning rate"},
    {.name = "lr",
     .kind = OPTION_DOUBLE,
     .value = &config.schedule.lr,
     .argument = "X",
     .min = 0,
     .max = 1e6,
     .help = "peak rate; without: the base rate scaled by the batch"},
    {.name = "base-lr",
     .kind = OPTION_DOUBLE,
     .value = &config.schedule.base_lr,
     .argument = "X",
     .min = 0,
     .max = 1e6,
     .help = base_lr_help},
    {.name = "scaling",
     .kind = OPTION_CHOICE,
     .value = &scaling,
     .choices = "linear|sqrt",
     .help = "base rate x batch / 256, or x sqrt(batch)"},
    {.name = "warmup",
     .kind = OPTION_DOUBLE,
     .value = &config.schedule.warmup_epochs,
     .argument = "EPOCHS",
     .min = 0,
     .max = 1e6,
     .help = "linear warm-up from 0"},
    {.name = "warmup-steps",
     .kind = OPTION_INT,
     .value = &config.schedule.warmup_steps,
     .argument = "N",
     .min = 0,
     .max = 1e15,
     .help = "the warm-up in steps, instead of --warmup"},
    {.name = "schedule",
     .kind = OPTION_CHOICE,
     .value = &shape,
     .choices = "cosine|constant",
     .help = "of the rate after the warm-up"},
    {.kind = OPTION_HEADING, .help = "state"},
    {.name = "state",
     .kind = OPTION_STRING,
     .value = &config.state,
     .argument = "FILE",
     .help = "write parameters and optimizer state there"},
    {.name = "save-every",
     .kind = OPTION_INT,
     .value = &config.save_every,
     .argument = "STEPS",
     .min = 0,
     .max = 1e15,
     .help = "steps between two states; 0: only at the end"},
    {.name = "model",
     .kind = OPTION_STRING,
     .value = &config.model,
     .argument = "FILE",
     .help = "write parameters and buffers there at the end"},
    {.name = "keep-every",
     .kind = OPTION_INT,
     .value = &config.keep_every,
     .argument = "STEPS",
     .min = 0,
     .max = 1e15,
     .help = "also keep a model every STEPS, as FILE-STEP; 0: none"},
    {.name = "resume",
     .kind = OPTION_SWITCH,
     .value = &config.resume,
     .help = "go on from --state"},
    {0},
};

void optimizer_options_set_defaults(const struct optimizer_defaults *d)
{
    defaults = *d;
    config.schedule.warmup_epochs = d->warmup_epochs;
    snprintf(base_lr_help, sizeof base_lr_help, "without: %g for linear, %g for sqrt scaling",
             d->linear_lr, d->sqrt_lr);
}

struct optimizer_config optimizer_options_config(void)
{
    struct optimizer_config c = config;
    c.schedule.sqrt_scaling = !strcmp(scaling, "sqrt");
    c.schedule.constant = !strcmp(shape, "constant");
    if (c.schedule.base_lr < 0)
        c.schedule.base_lr = c.schedule.sqrt_scaling ? defaults.sqrt_lr : defaults.linear_lr;
    return c;
}
