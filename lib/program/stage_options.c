#include "program/stage_options.h"

#include <omp.h>

#include "engine/engine.h"

struct stage_config stage_options = {.next = "",
                                     .opt = "",
                                     .sync = "",
                                     .wire = "fp32",
                                     .init = "",
                                     .precision = "fp32",
                                     .kernel = "auto"};

const struct option_spec stage_option_specs[] = {
    {.name = "init",
     .kind = OPTION_STRING,
     .value = &stage_options.init,
     .argument = "FILE",
     .help = "start from this checkpoint"},
    {.name = "seed",
     .kind = OPTION_INT,
     .value = &stage_options.seed,
     .argument = "N",
     .min = 0,
     .max = 9007199254740992,
     .help = "of the initial parameters"},
    {.name = "opt",
     .kind = OPTION_STRING,
     .value = &stage_options.opt,
     .argument = "LINK",
     .help = "the optimizer, which owns the parameters"},
    {.name = "wire",
     .kind = OPTION_CHOICE,
     .value = &stage_options.wire,
     .argument = "TYPE",
     .choices = "fp32|bf16",
     .help = "of gradients and weights on their way to the optimizer and back"},
    {.name = "threads",
     .kind = OPTION_INT,
     .value = &stage_options.threads,
     .argument = "N",
     .min = 1,
     .max = 1024,
     .help = "the result does not depend on it"},
    {.name = "precision",
     .kind = OPTION_CHOICE,
     .value = &stage_options.precision,
     .argument = "P",
     .choices = engine_precisions,
     .help = "of the network's arithmetic"},
    {.name = "kernel",
     .kind = OPTION_CHOICE,
     .value = &stage_options.kernel,
     .argument = "K",
     .choices = engine_kernels,
     .help = "that multiplies; auto: the fastest here"},
    {0},
};

const struct option_spec stage_link_option_specs[] = {
    {.name = "next",
     .kind = OPTION_STRING,
     .value = &stage_options.next,
     .argument = "LINK",
     .help = "train: where the output goes and its gradient comes from"},
    {.name = "sync",
     .kind = OPTION_STRING,
     .value = &stage_options.sync,
     .argument = "LINK",
     .help = "a reduce, for batch norm over the batch of all workers"},
    {0},
};

void stage_options_defaults(void)
{
    stage_options.threads = omp_get_max_threads();
}
