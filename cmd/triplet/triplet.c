/* triplet: computes the margin triplet loss. Reads projections and writes their gradient. */
#include "base/signals.h"
#include "loss/triplet_loss.h"
#include "program/link_options.h"
#include "program/loss.h"

static struct triplet_settings settings = {.kind = TRIPLET_MARGIN, .margin = 0.4};

static const struct option_spec options[] = {
    {.name = "margin",
     .kind = OPTION_DOUBLE,
     .value = &settings.margin,
     .argument = "M",
     .min = 0,
     .max = 1e6,
     .help = "by how much the positive should be more similar than a negative"},
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
    "Row i's loss is the mean of max(s_in - s_ip + M, 0) over its 2B-2 negatives n,\n"
    "where p is its positive and the similarity s is the cosine of two rows, or with\n"
    "--no-normalize their dot product.\n"
    "With --semi-hard one negative takes the place of the mean; a row without such a\n"
    "negative, or with none within the margin, has a loss of 0.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | triplet | inspect";

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return triplet_loss(in, &settings, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {"triplet",
                                    "the margin triplet loss",
                                    details,
                                    {options, loss_normalize_option_specs, loss_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    if (settings.semi_hard && settings.margin <= 0)
        options_reject("--semi-hard needs a --margin above 0: a negative that is less similar than "
                       "the positive costs nothing else");
    return loss_run(&(struct loss){.single = "negatives", .compute = compute});
}
