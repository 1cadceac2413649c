/* supcon: computes the supervised contrastive loss. Reads projections and labels, and writes the
 * gradient of the projections. */
#include "loss/supcon.h"
#include "base/signals.h"
#include "program/link_options.h"
#include "program/loss.h"

static double temperature = 0.1;

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
    "In:  `z` F32 [B,V,d]: V views of each of B images, V of 1 or more, and their\n"
    "     labels `y` I64 [B]. A frame must hold the whole global batch.\n"
    "Out: `dz` F32 [B,V,d], and metadata `loss`, `contrast_acc`, `contrast_entropy`,\n"
    "     `z_std`, `alignment`.\n"
    "\n"
    "A row's positives are all other rows of its label. An image without a label, -1,\n"
    "is a class by itself: its own views are its positives, so a batch may mix images\n"
    "with and without labels. Row i's loss is the mean over its positives j of\n"
    "-ln softmax(s_i)[j] over all other rows, where the similarity s_ij is the cosine\n"
    "of rows i and j, or with --no-normalize their dot product, divided by T. Rows\n"
    "without a positive are left out.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | supcon | inspect";

static int compute(const struct loss_input *in, float *dz, struct loss_metrics *metrics)
{
    return supcon(in, temperature, dz, metrics);
}

int main(int argc, char **argv)
{
    signals_setup();
    loss_defaults();
    const struct program program = {"supcon",
                                    "the supervised contrastive loss",
                                    details,
                                    {options, loss_normalize_option_specs, loss_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return loss_run(&(struct loss){.single = "negatives", .labels = true, .compute = compute});
}
