/* encode: the residual network whose features are trained. It reads images or series and writes
 * features. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/signals.h"
#include "network/encoder.h"
#include "program/link_options.h"
#include "program/stage.h"
#include "program/stage_options.h"

static const char *arch = "resnet18", *stem = "auto", *normalize = "none", *freeze = "none";
static const char freezes[] = "none|stem|layer1|layer2|layer3|layer4";
static double width = 1;
static bool selective;
static int64_t chunk;
static struct normalization normalization; /* what --normalize says */

static const struct option_spec options[] = {
    {.name = "arch",
     .kind = OPTION_CHOICE,
     .value = &arch,
     .choices = encoder_archs,
     .argument = "NAME",
     .help = "the network; resnet1d: 18 layers for series"},
    {.name = "width",
     .kind = OPTION_DOUBLE,
     .value = &width,
     .argument = "W",
     .min = 0.01,
     .max = 64,
     .help = "multiply the channels by W"},
    {.name = "sk",
     .kind = OPTION_SWITCH,
     .value = &selective,
     .help = "ResNet-D with selective kernels, as in SimCLRv2; from resnet50 on"},
    {.name = "stem",
     .kind = OPTION_CHOICE,
     .value = &stem,
     .choices = "auto|cifar|imagenet",
     .argument = "STEM",
     .help = "auto: cifar up to 64 pixels, or steps of a series"},
    {.name = "normalize",
     .kind = OPTION_STRING,
     .value = &normalize,
     .argument = "HOW",
     .help = "none, cifar10, imagenet, or means/standard deviations: M,M,M/S,S,S"},
    {.name = "freeze",
     .kind = OPTION_CHOICE,
     .value = &freeze,
     .choices = freezes,
     .argument = "BLOCK",
     .help = "do not train the network up to and with BLOCK; layer4: all of it"},
    {.name = "chunk",
     .kind = OPTION_INT,
     .value = &chunk,
     .argument = "M",
     .min = 0,
     .max = 1 << 30,
     .help = "train with M images of a batch in memory; 0: all at once"},
    {0},
};

static const char details[] =
    "In:  `x` U8 [B,V,H,W,C] of up to 4 channels, scaled by 1/255 and normalized; or F32 of\n"
    "     any number of channels, used as it is. resnet1d takes series of T steps and C\n"
    "     channels: F32 [B,V,1,T,C].\n"
    "Out: without --next `h` F32 [B,V,D] in `x`'s place, in evaluation mode; with it,\n"
    "     after a training step, metrics: `lr`, `views_per_s`, and those that came with\n"
    "     `dh`.\n"
    "\n"
    "Example: augment --data cifar-10-batches-bin --policy eval --epochs 1 |\n"
    "  encode --init model.safetensors > features.st";

/* Returns how many blocks --freeze names: 1 for the stem, 5 for all. */
static int frozen_blocks(void)
{
    if (!strcmp(freeze, "none"))
        return 0;
    return strcmp(freeze, "stem") ? 1 + atoi(freeze + strlen("layer")) : 1;
}

/* Describes the network that the flags ask for, for inputs like x. */
static struct encoder describe(const struct tensor *x)
{
    const enum resnet_stem chosen = !strcmp(stem, "auto")
                                        ? encoder_auto_stem(x->shape[2], x->shape[3])
                                    : !strcmp(stem, "cifar") ? RESNET_STEM_CIFAR
                                                             : RESNET_STEM_IMAGENET;
    return (struct encoder){.arch = arch,
                            .width = width,
                            .stem = chosen,
                            .normalize = normalization,
                            .selective = selective,
                            .size = x->shape[3],
                            .channels = x->shape[4]};
}

static struct plan *make_plan(const struct tensor *x)
{
    const struct encoder e = describe(x);
    if (encoder_is_series(&e) && x->dtype != DTYPE_F32)
        return fail_null("x is %s: %s takes F32", dtype_name(x->dtype), arch);
    if (!encoder_is_series(&e) && x->shape[2] == 1 && x->shape[3] > 1)
        return fail_null("x is a series of %lld steps, and %s takes images: --arch resnet1d",
                         (long long)x->shape[3], arch);
    if (normalization.channels && normalization.channels != x->shape[4])
        return fail_null("x has %lld channels, and --normalize %s is for %d",
                         (long long)x->shape[4], normalize, normalization.channels);
    struct plan *p = encoder_plan(&e);
    if (p && frozen_blocks())
        plan_freeze(p, resnet_operations(p, frozen_blocks()));
    return p;
}

int main(int argc, char **argv)
{
    signals_setup();
    stage_options_defaults();
    const struct program program = {"encode",
                                    "a residual network: images or series in, features out",
                                    details,
                                    {options, stage_option_specs, stage_link_option_specs,
                                     server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    if (normalization_parse(normalize, &normalization))
        options_reject("--normalize %s", fail_message());
    return stage_run(&(struct stage){.input = "x",
                                     .output = "h",
                                     .images = true,
                                     .normalization = normalization,
                                     .make_plan = make_plan,
                                     .flags = "--arch, --width, --sk or --stem",
                                     .chunk = chunk,
                                     .metrics = true});
}
