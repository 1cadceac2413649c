/* lars: the optimizer of pretraining. Reads gradients and writes new parameters. */
#include "optimizer/lars.h"

#include "base/signals.h"
#include "program/link_options.h"
#include "program/optimizer.h"

static bool clip_given; /* without it the state says nothing, as those of earlier versions */
static struct lars lars = {.momentum = 0.9, .weight_decay = 1e-4, .eta = 1e-3};

static const struct option_spec options[] = {
    {.name = "momentum",
     .kind = OPTION_DOUBLE,
     .value = &lars.momentum,
     .argument = "X",
     .min = 0,
     .max = 1,
     .help = "momentum of the updates"},
    {.name = "weight-decay",
     .kind = OPTION_DOUBLE,
     .value = &lars.weight_decay,
     .argument = "X",
     .min = 0,
     .max = 1e3,
     .help = "weight decay; biases and batch norm have none"},
    {.name = "eta",
     .kind = OPTION_DOUBLE,
     .value = &lars.eta,
     .argument = "X",
     .min = 0,
     .max = 1e3,
     .help = "trust coefficient, a factor of the trust ratio"},
    {.name = "clip",
     .kind = OPTION_SWITCH,
     .value = &lars.clip,
     .given = &clip_given,
     .help = "trust ratio min(eta |w| / |g| / rate, 1), as LARC and solo-learn clip it"},
    {0},
};

static const char details[] = OPTIMIZER_FRAMES
    "Example: two stages share one optimizer, which writes one model.\n"
    "  lars --listen ipc://opt.ipc --model model.safetensors &\n"
    "  augment --data shapes --batch 64 --steps 20 |\n"
    "    encode --opt ipc://opt.ipc \\\n"
    "      --next 'exec:project --opt ipc://opt.ipc --next exec:ntxent' | progress";

static int update(const void *hyper, double lr, int64_t step, int ndim, size_t n, float *w,
                  const float *g, float *const *slots)
{
    (void)step;
    return lars_step(hyper, lr, ndim > 1, n, w, g, slots[0]);
}

static int measure(const void *hyper, double lr, int ndim, size_t n, const float *w, const float *g,
                   double *rate, double *squares)
{
    return lars_measure(hyper, lr, ndim > 1, n, w, g, rate, squares);
}

static void apply(const void *hyper, double rate, int ndim, size_t n, float *w, const float *g,
                  float *const *slots)
{
    lars_apply(hyper, rate, ndim > 1, n, w, g, slots[0]);
}

int main(int argc, char **argv)
{
    signals_setup();
    const struct program program = {
        "lars",
        "layer-wise adaptive rate scaling: an optimizer for large batches",
        details,
        {options, optimizer_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return optimizer_run(&(struct optimizer_rule){.name = "lars",
                                                  .n_slots = 1,
                                                  .slots = {"momentum"},
                                                  .hyper = &lars,
                                                  .options = options,
                                                  .update = update,
                                                  .measure = measure,
                                                  .apply = apply});
}
