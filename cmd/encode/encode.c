/* encode: the residual network whose features are trained. It reads images or series and writes
 * features. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/signals.h"
#include "network/resnet.h"
#include "program/link_options.h"
#include "program/stage.h"
#include "program/stage_options.h"

enum { CIFAR_UP_TO = 64 }; /* for --stem auto: pixels a side, or steps of a series */

static const char *arch = "resnet18", *stem = "auto", *normalize = "none", *freeze = "none";
static const char freezes[] = "none|stem|layer1|layer2|layer3|layer4";
static double width = 1;
static bool selective;
static int64_t chunk;

static const struct option_spec options[] = {
    {.name = "arch",
     .kind = OPTION_CHOICE,
     .value = &arch,
     .choices = "resnet18|resnet34|resnet50|resnet101|resnet152|resnet1d|resnet1d34|resnet1d50",
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
     .help = "none, cifar10, imagenet, or means/standard deviations: R,G,B/R,G,B"},
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
    "In:  `x` U8 [B,V,H,W,3], scaled by 1/255 and normalized; or F32, used as it is.\n"
    "     resnet1d takes series of T steps and any number C of channels: F32 [B,V,1,T,C].\n"
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

/* Makes the network that --arch names: "resnet50", or "resnet1d" and "resnet1d50" for series. */
static struct plan *make_plan(const struct tensor *x)
{
    static const char series[] = "resnet1d";
    const bool is_series = !strncmp(arch, series, strlen(series));
    const char *depth = arch + strlen(is_series ? series : "resnet");
    if (is_series && selective) {
        return fail_null("--sk: %s has no bottlenecks of images", arch);
    }
    if (is_series && x->dtype != DTYPE_F32) {
        return fail_null("x is %s: %s takes F32", dtype_name(x->dtype), arch);
    }
    if (!is_series && x->shape[4] != 3) {
        return fail_null("x has %lld channels: 3 are needed", (long long)x->shape[4]);
    }
    const bool small = x->shape[2] <= CIFAR_UP_TO && x->shape[3] <= CIFAR_UP_TO;
    const bool cifar = !strcmp(stem, "auto") ? small : !strcmp(stem, "cifar");
    const enum resnet_stem kind = cifar ? RESNET_STEM_CIFAR : RESNET_STEM_IMAGENET;
    const int layers = *depth ? atoi(depth) : 18;
    struct plan *p = is_series ? resnet_series_plan(layers, width, kind, x->shape[4])
                               : (selective ? resnet_sk_plan : resnet_plan)(layers, width, kind);
    if (p && frozen_blocks())
        plan_freeze(p, resnet_operations(p, frozen_blocks()));
    return p;
}

static struct normalization parse_normalization(const char *how)
{
    struct normalization n = {{0, 0, 0}, {1, 1, 1}};
    float *m = n.mean, *d = n.std;
    int end = -1;
    if (!strcmp(how, "none"))
        return n;
    if (!strcmp(how, "cifar10"))
        how = "0.4914,0.4822,0.4465/0.2470,0.2435,0.2616";
    else if (!strcmp(how, "imagenet"))
        how = "0.485,0.456,0.406/0.229,0.224,0.225";
    if (sscanf(how, "%f,%f,%f/%f,%f,%f%n", &m[0], &m[1], &m[2], &d[0], &d[1], &d[2], &end) != 6 ||
        how[end] || !(d[0] > 0 && d[1] > 0 && d[2] > 0))
        options_reject("--normalize %s is not none, cifar10, imagenet or M,M,M/S,S,S", how);
    return n;
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
    return stage_run(&(struct stage){.input = "x",
                                     .output = "h",
                                     .images = true,
                                     .normalization = parse_normalization(normalize),
                                     .make_plan = make_plan,
                                     .flags = "--arch, --width, --sk or --stem",
                                     .chunk = chunk,
                                     .metrics = true});
}
