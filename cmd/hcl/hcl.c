/* hcl: computes the contrastive loss with hard negatives. Reads projections and writes their
 * gradient. */
#include "loss/hcl.h"
#include "base/signals.h"
#include "program/link_options.h"
#include "program/loss.h"

static struct hcl_settings settings = {.temperature = 0.5, .beta = 1, .tau_plus = 0.1};

static const struct option_spec options[] = {
    {.name = "temperature",
     .kind = OPTION_DOUBLE,
     .value = &settings.temperature,
     .argument = "T",
     .min = 1e-3,
     .max = 1e3,
     .help = "similarities are divided by it"},
    {.name = "beta",
     .kind = OPTION_DOUBLE,
     .value = &settings.beta,
     .argument = "X",
     .min = 0,
     .max = 100,
     .help = "how much more a negative weighs that is more similar; 0: all alike"},
    {.name = "tau-plus",
     .kind = OPTION_DOUBLE,
     .value = &settings.tau_plus,
     .argument = "X",
     .min = 0,
     .max = 0.99,
     .help = "share of the negatives that are of the row's own class; 0: none"},
    {0},
};

static const char details[] =
    "In:  `z` F32 [B,2,d]: two views of each of B images. A row's negatives are all\n"
    "     rows of other images, so a frame must hold the whole global batch.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `contrast_acc`, `z_std`, `alignment`.\n"
    "\n"
    "Row i's loss is -ln(P / (P + G)). With the similarity s_ij, which is the cosine of\n"
    "two rows or with --no-normalize their dot product, P is exp(s_ip / T) of its\n"
    "positive p, N_k is exp(s_ik / T) of its n = 2B-2 negatives k, and\n"
    "  R = sum of N_k^(1 + beta) / mean of N_k^beta\n"
    "  G = max((R - tau-plus n P) / (1 - tau-plus), n exp(-1 / T))\n"
    "With --beta 0 --tau-plus 0 this is ntxent.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | hcl | inspect";

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return hcl(in, &settings, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {"hcl",
                                    "the contrastive loss with hard negatives",
                                    details,
                                    {options, loss_normalize_option_specs, loss_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return loss_run(&(struct loss){.single = "negatives", .compute = compute});
}
