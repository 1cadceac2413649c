/* adam: Adam and AdamW, optimizers that scale each parameter's step by its gradients' sizes. Reads
 * gradients and writes new parameters. */
#include "optimizer/adam.h"

#include <string.h>

#include "base/signals.h"
#include "program/link_options.h"
#include "program/optimizer.h"

static struct adam adam = {.beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8};
static const char *decayed = "weights";

static const struct option_spec options[] = {
    {.name = "beta1",
     .kind = OPTION_DOUBLE,
     .value = &adam.beta1,
     .argument = "X",
     .min = 0,
     .max = 0.9999999,
     .help = "decay of the mean of gradients"},
    {.name = "beta2",
     .kind = OPTION_DOUBLE,
     .value = &adam.beta2,
     .argument = "X",
     .min = 0,
     .max = 0.9999999,
     .help = "decay of the mean of their squares"},
    {.name = "eps",
     .kind = OPTION_DOUBLE,
     .value = &adam.eps,
     .argument = "X",
     .min = 1e-30,
     .max = 1,
     .help = "added to the square root of that mean"},
    {.name = "weight-decay",
     .kind = OPTION_DOUBLE,
     .value = &adam.weight_decay,
     .argument = "X",
     .min = 0,
     .max = 1e3,
     .help = "share of a parameter that is added to its gradient"},
    {.name = "decoupled",
     .kind = OPTION_SWITCH,
     .value = &adam.decoupled,
     .help = "AdamW: the parameter shrinks by rate x decay instead"},
    {.name = "decay",
     .kind = OPTION_CHOICE,
     .value = &decayed,
     .choices = "weights|all",
     .argument = "WHAT",
     .help = "what decays: weights alone, or all: biases and batch norm as well"},
    {0},
};

static const char details[] = OPTIMIZER_FRAMES
    "Example: AdamW in the place of lars.\n"
    "  augment --data shapes --batch 64 --steps 20 |\n"
    "    encode --opt 'exec:adam --decoupled --weight-decay 0.01 --model model.safetensors' \\\n"
    "      --next 'exec:project --opt exec:adam --next exec:ntxent' | progress";

static int update(const void *hyper, double lr, int64_t step, int ndim, size_t n, float *w,
                  const float *g, float *const *slots)
{
    return adam_step(hyper, lr, step + 1, ndim > 1 || !strcmp(decayed, "all"), n, w, g, slots[0],
                     slots[1]);
}

int main(int argc, char **argv)
{
    signals_setup();
    const struct program program = {
        "adam",
        "Adam and AdamW: steps scaled by the gradients' sizes",
        details,
        {options, optimizer_option_specs, server_option_specs, link_option_specs}};
    optimizer_options_set_defaults(
        &(struct optimizer_defaults){.linear_lr = 0.001, .sqrt_lr = 0.0000625});
    options_parse(&program, argc, argv, NULL);
    return optimizer_run(&(struct optimizer_rule){.name = "adam",
                                                  .n_slots = 2,
                                                  .slots = {"exp_avg", "exp_avg_sq"},
                                                  .hyper = &adam,
                                                  .options = options,
                                                  .update = update});
}
