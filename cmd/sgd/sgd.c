/* sgd: the optimizer of supervised training. Reads gradients and writes new parameters. */
#include "optimizer/sgd.h"

#include <string.h>

#include "base/signals.h"
#include "program/link_options.h"
#include "program/optimizer.h"

static struct sgd sgd = {.momentum = 0.9};
static const char *decayed = "weights";

static const struct option_spec options[] = {
    {.name = "momentum",
     .kind = OPTION_DOUBLE,
     .value = &sgd.momentum,
     .argument = "X",
     .min = 0,
     .max = 1,
     .help = "momentum of the gradients"},
    {.name = "nesterov",
     .kind = OPTION_SWITCH,
     .value = &sgd.nesterov,
     .help = "use Nesterov's momentum, which looks a step ahead"},
    {.name = "weight-decay",
     .kind = OPTION_DOUBLE,
     .value = &sgd.weight_decay,
     .argument = "X",
     .min = 0,
     .max = 1e3,
     .help = "share of a parameter that is added to its gradient"},
    {.name = "decay",
     .kind = OPTION_CHOICE,
     .value = &decayed,
     .choices = "weights|all",
     .argument = "WHAT",
     .help = "what decays: weights alone, or all: biases and batch norm as well"},
    {0},
};

static const char details[] = OPTIMIZER_FRAMES
    "Example: fine-tuning as in the paper, by Nesterov's momentum at 0.05 x batch / 256.\n"
    "  sgd --nesterov --base-lr 0.05 --listen ipc://opt.ipc --model tuned.safetensors &\n"
    "  augment --data shapes --ops crop,flip --views 1 --batch 64 --steps 20 |\n"
    "    encode --init model.safetensors --opt ipc://opt.ipc \\\n"
    "      --next 'exec:classify --opt ipc://opt.ipc' | progress";

static int update(const void *hyper, double lr, int64_t step, int ndim, size_t n, float *w,
                  const float *g, float *const *slots)
{
    (void)step;
    return sgd_step(hyper, lr, ndim > 1 || !strcmp(decayed, "all"), n, w, g, slots[0]);
}

int main(int argc, char **argv)
{
    signals_setup();
    const struct program program = {
        "sgd",
        "stochastic gradient descent with momentum: an optimizer",
        details,
        {options, optimizer_option_specs, server_option_specs, link_option_specs}};
    optimizer_options_set_defaults(
        &(struct optimizer_defaults){.linear_lr = 0.1, .sqrt_lr = 0.00625});
    options_parse(&program, argc, argv, NULL);
    if (sgd.nesterov && !(sgd.momentum > 0))
        options_reject("--nesterov needs --momentum");
    return optimizer_run(&(struct optimizer_rule){.name = "sgd",
                                                  .n_slots = 1,
                                                  .slots = {"momentum"},
                                                  .hyper = &sgd,
                                                  .options = options,
                                                  .update = update});
}
