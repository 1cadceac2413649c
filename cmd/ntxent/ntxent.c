/* ntxent: computes the contrastive loss of SimCLR. Reads projections and writes their gradient. */
#include "loss/ntxent.h"

#include "base/signals.h"
#include "program/link_options.h"
#include "program/loss.h"

static double temperature = 0.5;

static const struct option_spec options[] = {
    {.name = "temperature",
     .kind = OPTION_DOUBLE,
     .value = &temperature,
     .argument = "T",
     .min = 1e-3,
     .max = 1e3,
     .help = "similarities are divided by it"},
    {0},
};

static const char details[] =
    "In:  `z` F32 [B,2,d]: two views of each of B images. All 2B rows are each\n"
    "     other's candidates, so a frame must hold the whole global batch.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `contrast_acc`, `contrast_entropy`,\n"
    "     `z_std`, `alignment`.\n"
    "\n"
    "Row i's loss is -ln softmax(s_i)[positive] over all other rows, where the\n"
    "similarity s_ij is the cosine of rows i and j, or with --no-normalize their dot\n"
    "product, divided by T.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | ntxent | inspect";

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return ntxent(in, temperature, NULL, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {"ntxent",
                                    "the normalized temperature-scaled cross-entropy loss",
                                    details,
                                    {options, loss_normalize_option_specs, loss_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return loss_run(&(struct loss){.single = "negatives", .compute = compute});
}
