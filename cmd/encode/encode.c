/* encode: the residual network whose features are trained. It reads images or series and writes
 * features. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/signals.h"
#include "base/warn.h"
#include "network/encoder.h"
#include "program/link_options.h"
#include "program/stage.h"
#include "program/stage_options.h"
#include "weights/weights.h"

static const char *arch = "resnet18", *stem = "auto", *normalize = "none", *freeze = "none";
static const char freezes[] = "none|stem|layer1|layer2|layer3|layer4";
static double width = 1;
static bool selective;
static int64_t chunk;
static struct given {
    bool arch, width, stem, normalize, sk;
} given;

/* The network, as far as the flags and the file of --init or --like say what it is. */
static struct {
    struct encoder e;
    bool stem_is_open; /* chosen by the size of the first images */
    bool derived;      /* the file does not say it: its tensors do */
    const char *file;  /* path of the file that says what it is, or NULL */
} network;

static const struct option_spec options[] = {
    {.name = "arch",
     .kind = OPTION_CHOICE,
     .value = &arch,
     .choices = encoder_archs,
     .argument = "NAME",
     .help = "the network; resnet1d: 18 layers for series",
     .given = &given.arch},
    {.name = "width",
     .kind = OPTION_DOUBLE,
     .value = &width,
     .argument = "W",
     .min = 0.01,
     .max = 64,
     .help = "multiply the channels by W",
     .given = &given.width},
    {.name = "sk",
     .kind = OPTION_SWITCH,
     .value = &selective,
     .help = "ResNet-D with selective kernels, as in SimCLRv2; from resnet50 on",
     .given = &given.sk},
    {.name = "stem",
     .kind = OPTION_CHOICE,
     .value = &stem,
     .choices = "auto|cifar|imagenet",
     .argument = "STEM",
     .help = "auto: cifar up to 64 pixels, or steps of a series",
     .given = &given.stem},
    {.name = "normalize",
     .kind = OPTION_STRING,
     .value = &normalize,
     .argument = "HOW",
     .help = "none, cifar10, imagenet, or means/standard deviations: M,M,M/S,S,S",
     .given = &given.normalize},
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

/* ---- what the network is ---- */

/* Takes the network from the flags. Returns -1 with a message. */
static int read_flags(void)
{
    network.stem_is_open = !strcmp(stem, "auto");
    network.e = (struct encoder){.arch = arch,
                                 .width = width,
                                 .stem = !strcmp(stem, "imagenet") ? RESNET_STEM_IMAGENET
                                                                   : RESNET_STEM_CIFAR,
                                 .selective = selective};
    return normalization_parse(normalize, &network.e.normalize);
}

/* Says that a flag contradicts the file, with the value that the file has for it. */
static int fail_flag(const char *flag, const char *value, const struct encoder *file)
{
    char text[ENCODER_TEXT];
    encoder_print(file, text);
    const char *at = strstr(text, flag);
    return fail("--%s%s%s, but %s was trained with %.*s", flag, *value ? " " : "", value,
                network.file, (int)strcspn(at, " "), at);
}

/* Compares each flag that was given with the file. */
static int check_flags(const struct encoder *file)
{
    char text[32];
    snprintf(text, sizeof text, "%g", width);
    if (given.arch && strcmp(arch, file->arch) != 0)
        return fail_flag("arch", arch, file);
    if (given.width && resnet_base_channels(width) != resnet_base_channels(file->width))
        return fail_flag("width", text, file);
    if (!network.stem_is_open && network.e.stem != file->stem)
        return fail_flag("stem", stem, file);
    if (given.normalize &&
        memcmp(&network.e.normalize, &file->normalize, sizeof file->normalize) != 0)
        return fail_flag("normalize", normalize, file);
    return given.sk && !file->selective ? fail_flag("sk", "", file) : 0;
}

static int configure(struct stage *stage, const struct frame *weights)
{
    const char *text = frame_meta(weights, "encoder");
    struct encoder file;
    network.file = *stage_options.init ? stage_options.init : stage_options.like;
    if (!text && !given.arch && frame_find(weights, "layer1.0.conv1.weight"))
        return fail("%s holds no network that is known here, which are %s; --arch says which of "
                    "them it should be",
                    network.file, encoder_archs);
    if (!text)
        return 0;
    if (encoder_parse(text, &file))
        return fail_prefix("%s", network.file);
    /* Flags that contradict shapes are refused as soon as the tensors are taken. */
    const bool derived = weights_derived(weights, "encoder");
    if (!derived && check_flags(&file))
        return -1;
    network.derived = derived;
    if (!given.arch)
        network.e.arch = file.arch;
    if (!given.width)
        network.e.width = file.width;
    if (network.stem_is_open)
        network.e.stem = file.stem;
    if (!given.normalize)
        network.e.normalize = file.normalize;
    network.e.selective = selective || file.selective;
    network.e.channels = file.channels;
    network.stem_is_open = false;
    stage->normalization = network.e.normalize;
    return 0;
}

static struct plan *make_plan(const struct tensor *x)
{
    struct encoder *e = &network.e;
    const int64_t channels = x->shape[4];
    if (encoder_is_series(e) && x->dtype != DTYPE_F32)
        return fail_null("x is %s: %s takes F32", dtype_name(x->dtype), e->arch);
    if (!encoder_is_series(e) && x->shape[2] == 1 && x->shape[3] > 1)
        return fail_null("x is a series of %lld steps, and %s takes images: --arch resnet1d",
                         (long long)x->shape[3], e->arch);
    if (e->channels && e->channels != channels)
        return fail_null("x has %lld channels, and %s was trained with %lld", (long long)channels,
                         network.file, (long long)e->channels);
    if (e->normalize.channels && e->normalize.channels != channels)
        return fail_null("x has %lld channels, and --normalize %s is for %d", (long long)channels,
                         normalize, e->normalize.channels);
    if (e->normalize.channels && x->dtype == DTYPE_F32 && given.normalize)
        return fail_null("x is F32, which is used as it is: --normalize %s is for bytes",
                         normalize);
    if (e->normalize.channels && x->dtype == DTYPE_F32) {
        char text[NORMALIZATION_TEXT];
        normalization_print(&e->normalize, text);
        warn_line("x is F32, which is used as it is; %s was trained with normalize=%s",
                  network.file, text);
    }
    if (network.stem_is_open)
        e->stem = encoder_auto_stem(x->shape[2], x->shape[3]);
    e->size = x->shape[3];
    e->channels = channels;
    struct plan *p = encoder_plan(e);
    if (p && frozen_blocks())
        plan_freeze(p, resnet_operations(p, frozen_blocks()));
    return p;
}

static void describe(const struct tensor *x, struct frame *join)
{
    char text[ENCODER_TEXT];
    const struct encoder *e = &network.e;
    (void)x;
    if (network.derived &&
        !(given.arch && given.width && strcmp(stem, "auto") != 0 && given.normalize))
        warn_line("%s does not say what it is; its tensors are those of arch=%s width=%g stem=%s "
                  "sk=%d, and --normalize is %s",
                  network.file, e->arch, e->width, encoder_stem_name(e->stem), e->selective,
                  normalize);
    encoder_print(e, text);
    frame_set_meta(join, "encoder", text);
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
    if (read_flags())
        options_reject("--normalize %s", fail_message());
    return stage_run(&(struct stage){.input = "x",
                                     .output = "h",
                                     .images = true,
                                     .normalization = network.e.normalize,
                                     .configure = configure,
                                     .make_plan = make_plan,
                                     .describe = describe,
                                     .flags = "--arch, --width, --sk or --stem",
                                     .chunk = chunk,
                                     .metrics = true});
}
