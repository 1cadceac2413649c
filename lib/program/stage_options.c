#include "program/stage_options.h"

#include <omp.h>

#include "device/opencl_devices.h"
#include "engine/engine.h"
#include "program/ema.h"

struct stage_config stage_options = {.next = "",
                                     .opt = "",
                                     .sync = "",
                                     .wire = "fp32",
                                     .init = "",
                                     .like = "",
                                     .precision = "fp32",
                                     .kernel = "auto",
                                     .device = "cpu",
                                     .ema = EMA_NONE};

const struct option_spec stage_option_specs[] = {
    {.kind = OPTION_HEADING, .help = "parameters and training"},
    {.name = "init",
     .kind = OPTION_STRING,
     .value = &stage_options.init,
     .argument = "FILE",
     .help = "start from this checkpoint, which says what the network is"},
    {.name = "like",
     .kind = OPTION_STRING,
     .value = &stage_options.like,
     .argument = "FILE",
     .help = "the same network as in this checkpoint, with new weights"},
    {.name = "seed",
     .kind = OPTION_INT,
     .value = &stage_options.seed,
     .argument = "N",
     .min = 0,
     .max = 9007199254740992,
     .help = "seed of the initial parameters"},
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
     .help = "type in which gradients and new weights are sent"},
    {.name = "threads",
     .kind = OPTION_INT,
     .value = &stage_options.threads,
     .argument = "N",
     .min = 1,
     .max = 1024,
     .help = "the result does not depend on it [all cores, or OMP_NUM_THREADS]"},
    {.name = "precision",
     .kind = OPTION_CHOICE,
     .value = &stage_options.precision,
     .argument = "P",
     .choices = engine_precisions,
     .help = "precision of the network's arithmetic"},
    {.name = "kernel",
     .kind = OPTION_CHOICE,
     .value = &stage_options.kernel,
     .argument = "K",
     .choices = engine_kernels,
     .help = "kernel of the matrix products; auto: the fastest here"},
    {.name = "device",
     .kind = OPTION_STRING,
     .value = &stage_options.device,
     .argument = "D",
     .help = "cpu, " OPENCL_DEVICE_FORM "; list: print them"},
    {0},
};

const struct option_spec stage_link_option_specs[] = {
    {.name = "next",
     .kind = OPTION_STRING,
     .value = &stage_options.next,
     .argument = "LINK",
     .help = "train: send the output there and get its gradient back"},
    {.name = "sync",
     .kind = OPTION_STRING,
     .value = &stage_options.sync,
     .argument = "LINK",
     .help = "a reduce, which makes batch norm span all workers"},
    {.name = "ema",
     .kind = OPTION_DOUBLE,
     .value = &stage_options.ema,
     .argument = "M",
     .min = 0,
     .max = 1,
     .help = "train: also send the output of a slow copy, of which M stays in a step [no copy]"},
    {0},
};

void stage_options_defaults(void)
{
    stage_options.threads = omp_get_max_threads();
}
