/* barlow: computes the loss of Barlow Twins. Reads projections and writes their gradient. */
#include "loss/barlow.h"
#include "base/signals.h"
#include "program/link_options.h"
#include "program/loss.h"

static double lambda = 0.0051;

static const struct option_spec options[] = {
    {.name = "lambda",
     .kind = OPTION_DOUBLE,
     .value = &lambda,
     .argument = "L",
     .min = 0,
     .max = 1e3,
     .help = "weight of the correlations of different dimensions"},
    {0},
};

static const char details[] =
    "In:  `z` F32 [B,2,d]: two views of each of B images. Dimensions are compared over\n"
    "     the batch, so a frame must hold the whole global batch, of 2 images or more.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `z_std`, `alignment`.\n"
    "\n"
    "Each dimension of each view is standardized over the batch: q = (z - mean) /\n"
    "sqrt(variance + 1e-5), with the variance's 1/B. With C = q0' q1 / B the loss is the\n"
    "sum of (1 - C_jj)^2, plus L times the sum of C_jk^2 over all j and k that differ. It\n"
    "adds dimensions up, as the paper does, so it is not in nats, and grows with d. The\n"
    "paper trains with `project --layers 3 --hidden 8192 --dim 8192`.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | barlow | inspect";

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return barlow(in, lambda, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {
        "barlow",
        "the loss of Barlow Twins: correlations of dimensions",
        details,
        {options, loss_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return loss_run(&(struct loss){.single = "variance", .compute = compute});
}
