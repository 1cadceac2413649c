/* vicreg: computes the variance-invariance-covariance loss. Reads projections and writes their
 * gradient. */
#include "loss/vicreg.h"
#include "base/signals.h"
#include "program/link_options.h"
#include "program/loss.h"

static struct vicreg_settings settings = {.sim = 25, .var = 25, .cov = 1};

static const struct option_spec options[] = {
    {.name = "sim",
     .kind = OPTION_DOUBLE,
     .value = &settings.sim,
     .argument = "W",
     .min = 0,
     .max = 1e6,
     .help = "weight of the views' distance"},
    {.name = "var",
     .kind = OPTION_DOUBLE,
     .value = &settings.var,
     .argument = "W",
     .min = 0,
     .max = 1e6,
     .help = "weight of deviations below 1"},
    {.name = "cov",
     .kind = OPTION_DOUBLE,
     .value = &settings.cov,
     .argument = "W",
     .min = 0,
     .max = 1e6,
     .help = "weight of the covariances of different dimensions"},
    {0},
};

static const char details[] =
    "In:  `z` F32 [B,2,d]: two views of each of B images. Dimensions are compared over\n"
    "     the batch, so a frame must hold the whole global batch, of 2 images or more.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `z_std`, `alignment`.\n"
    "\n"
    "The loss is the sum of three terms, each times its weight: the mean of (z0 - z1)^2\n"
    "over images and dimensions; the mean of max(0, 1 - sqrt(variance + 1e-4)) over\n"
    "dimensions and views; and the squared covariances of all pairs of different\n"
    "dimensions, added up over both views and divided by d. Variances and covariances\n"
    "have 1/(B-1). The paper trains with these weights and\n"
    "`project --layers 3 --hidden 8192 --dim 8192`.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | vicreg | inspect";

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return vicreg(in, &settings, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {
        "vicreg",
        "the variance-invariance-covariance loss, VICReg",
        details,
        {options, loss_option_specs, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return loss_run(&(struct loss){.single = "variance", .compute = compute});
}
