/* project: the projection head. It reads features and writes projections. */
#include "base/signals.h"
#include "network/head.h"
#include "program/link_options.h"
#include "program/stage.h"
#include "program/stage_options.h"

static int64_t layers = 2, hidden, dim = 128;

static const struct option_spec options[] = {
    {.name = "layers",
     .kind = OPTION_INT,
     .value = &layers,
     .argument = "N",
     .min = 0,
     .max = 4,
     .help = "linear layers; 0: the projection is the feature, 2: one hidden layer"},
    {.name = "hidden",
     .kind = OPTION_INT,
     .value = &hidden,
     .argument = "W",
     .min = 0,
     .max = 1 << 20,
     .help = "width of hidden layers; 0: as wide as the input"},
    {.name = "dim",
     .kind = OPTION_INT,
     .value = &dim,
     .argument = "D",
     .min = 1,
     .max = 1 << 20,
     .help = "width of the output"},
    {0},
};

static const char details[] =
    "In:  `h` F32 [B,V,D].\n"
    "Out: without --next `z` F32 [B,V,d] in `h`'s place, in evaluation mode; with it\n"
    "     `dh` F32 [B,V,D], the gradient that came back, and the metrics with it.\n"
    "\n"
    "Example: encode --opt ipc://opt --next 'exec:project --opt ipc://opt --next exec:ntxent'";

static struct plan *make_plan(const struct tensor *h)
{
    return head_plan((int)layers, h->shape[2], hidden, dim);
}

int main(int argc, char **argv)
{
    signals_setup();
    stage_options_defaults();
    const struct program program = {"project",
                                    "the projection head: features in, projections out",
                                    details,
                                    {options, stage_option_specs, stage_link_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    return stage_run(&(struct stage){.input = "h",
                                     .output = "z",
                                     .make_plan = make_plan,
                                     .flags = "--layers, --hidden or --dim",
                                     .part = "projector",
                                     .identity = layers == 0});
}
