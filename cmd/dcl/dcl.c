/* dcl: computes the decoupled contrastive loss. Reads projections and writes their gradient. */
#include "loss/dcl.h"
#include "base/signals.h"
#include "program/link_options.h"
#include "program/loss.h"

static struct dcl_settings settings = {.temperature = 0.1, .sigma = 0.5};
static bool sigma_given;

static const struct option_spec options[] = {
    {.name = "temperature",
     .kind = OPTION_DOUBLE,
     .value = &settings.temperature,
     .argument = "T",
     .min = 1e-3,
     .max = 1e3,
     .help = "similarities are divided by it"},
    {.name = "weighted",
     .kind = OPTION_SWITCH,
     .value = &settings.weighted,
     .help = "positives that are far apart weigh more"},
    {.name = "sigma",
     .kind = OPTION_DOUBLE,
     .value = &settings.sigma,
     .argument = "S",
     .min = 1e-3,
     .max = 1e3,
     .help = "with --weighted: how evenly positives weigh",
     .given = &sigma_given},
    {0},
};

static const char details[] =
    "In:  `z` F32 [B,2,d]: two views of each of B images. A row's negatives are all\n"
    "     rows of other images, so a frame must hold the whole global batch.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `contrast_acc`, `z_std`, `alignment`.\n"
    "\n"
    "Row i's loss is -s_ip / T + ln sum of exp(s_ik / T), over its 2B-2 negatives k\n"
    "and without its positive p, where the similarity s is the cosine of two rows, or\n"
    "with --no-normalize their dot product. It may be below 0.\n"
    "With --weighted the first term is multiplied by 2 - 2B softmax(s_p / S)[i], where\n"
    "the softmax is over the s_ip of all 2B rows.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | dcl | inspect";

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return dcl(in, &settings, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {"dcl",
                                    "the decoupled contrastive loss",
                                    details,
                                    {options, loss_normalize_option_specs, loss_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    if (sigma_given && !settings.weighted)
        options_reject("--sigma needs --weighted: it is a part of the weights");
    return loss_run(&(struct loss){.single = "negatives", .compute = compute});
}
