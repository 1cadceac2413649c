/* ntlogistic: computes the logistic contrastive loss. Reads projections and writes their gradient.
 */
#include "base/signals.h"
#include "loss/triplet_loss.h"
#include "program/link_options.h"
#include "program/loss.h"

static struct triplet_settings settings = {.kind = TRIPLET_LOGISTIC, .temperature = 0.5};

static const struct option_spec options[] = {
    {.name = "temperature",
     .kind = OPTION_DOUBLE,
     .value = &settings.temperature,
     .argument = "T",
     .min = 1e-3,
     .max = 1e3,
     .help = "similarities are divided by it"},
    {.name = "semi-hard",
     .kind = OPTION_SWITCH,
     .value = &settings.semi_hard,
     .help = "one negative: the most similar of those less similar than the positive"},
    {0},
};

static const char details[] =
    "In:  `z` F32 [B,2,d]: two views of each of B images. A row's negatives are all\n"
    "     rows of other images, so a frame must hold the whole global batch.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `contrast_acc`, `z_std`, `alignment`.\n"
    "\n"
    "Row i's loss is -ln sigmoid(s_ip / T) of its positive p, and the mean of\n"
    "-ln sigmoid(-s_in / T) over its 2B-2 negatives n, where the similarity s is the\n"
    "cosine of two rows, or with --no-normalize their dot product.\n"
    "With --semi-hard one negative takes the place of the mean; a row without such a\n"
    "negative keeps its positive's term.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | ntlogistic | inspect";

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return triplet_loss(in, &settings, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {"ntlogistic",
                                    "the normalized temperature-scaled logistic loss",
                                    details,
                                    {options, loss_normalize_option_specs, loss_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return loss_run(&(struct loss){.single = "negatives", .compute = compute});
}
