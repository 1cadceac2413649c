#include "resnet.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "fail.h"

static const struct architecture {
    int depth;
    bool bottleneck;
    int blocks[4];
} architectures[] = {
    {18, false, {2, 2, 2, 2}},  {34, false, {3, 4, 6, 3}},  {50, true, {3, 4, 6, 3}},
    {101, true, {3, 4, 23, 3}}, {152, true, {3, 8, 36, 3}},
};

/* The names within a block: NAME.conv1 and so on. */
struct name {
    char text[64];
};

static struct name name_in(const char *block, const char *what)
{
    struct name n;
    snprintf(n.text, sizeof n.text, "%s.%s", block, what);
    return n;
}

static int norm_relu(struct plan *p, int in, const char *name)
{
    return plan_batch_norm(p, in, &(struct plan_norm){.name = name, .residual = -1, .relu = true});
}

/* What the block's input is added as: itself, or a 1x1 convolution of it where shapes differ. */
static int shortcut(struct plan *p, int in, int64_t channels, int64_t stride, const char *block)
{
    if (in < 0 || (stride == 1 && p->channels[in] == channels))
        return in;
    int x = plan_convolution(p, in, channels, 1, stride, 0, name_in(block, "downsample.0").text);
    struct name norm = name_in(block, "downsample.1");
    return plan_batch_norm(p, x, &(struct plan_norm){.name = norm.text, .residual = -1});
}

int resnet_basic_block(struct plan *p, int in, int64_t channels, int64_t stride, const char *block)
{
    int x = plan_convolution(p, in, channels, 3, stride, 1, name_in(block, "conv1").text);
    x = norm_relu(p, x, name_in(block, "bn1").text);
    x = plan_convolution(p, x, channels, 3, 1, 1, name_in(block, "conv2").text);
    int side = shortcut(p, in, channels, stride, block);
    struct name norm = name_in(block, "bn2");
    return side < 0 ? -1
                    : plan_batch_norm(
                          p, x,
                          &(struct plan_norm){
                              .name = norm.text, .residual = side, .relu = true, .zero = true});
}

int resnet_bottleneck(struct plan *p, int in, int64_t channels, int64_t stride, const char *block)
{
    int x = plan_convolution(p, in, channels, 1, 1, 0, name_in(block, "conv1").text);
    x = norm_relu(p, x, name_in(block, "bn1").text);
    x = plan_convolution(p, x, channels, 3, stride, 1, name_in(block, "conv2").text);
    x = norm_relu(p, x, name_in(block, "bn2").text);
    x = plan_convolution(p, x, 4 * channels, 1, 1, 0, name_in(block, "conv3").text);
    int side = shortcut(p, in, 4 * channels, stride, block);
    struct name norm = name_in(block, "bn3");
    return side < 0 ? -1
                    : plan_batch_norm(
                          p, x,
                          &(struct plan_norm){
                              .name = norm.text, .residual = side, .relu = true, .zero = true});
}

struct plan *resnet_plan(int depth, double width, enum resnet_stem stem)
{
    const struct architecture *a = NULL;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (architectures[i].depth == depth)
            a = &architectures[i];
    if (!a) {
        fail("there is no ResNet-%d", depth);
        return NULL;
    }
    if (!(width > 0) || width > 64) {
        fail("width %g is not between 0 and 64", width);
        return NULL;
    }
    const int64_t base = (int64_t)fmax(1, round(64 * width));
    struct plan *p = plan_new(3);
    if (!p)
        return NULL;
    int x = stem == RESNET_STEM_CIFAR ? plan_convolution(p, 0, base, 3, 1, 1, "conv1")
                                      : plan_convolution(p, 0, base, 7, 2, 3, "conv1");
    x = norm_relu(p, x, "bn1");
    if (stem == RESNET_STEM_IMAGENET)
        x = plan_max_pool(p, x, 3, 2, 1);
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < a->blocks[stage]; i++) {
            char name[32];
            snprintf(name, sizeof name, "layer%d.%d", stage + 1, i);
            int64_t stride = stage > 0 && i == 0 ? 2 : 1;
            x = a->bottleneck ? resnet_bottleneck(p, x, base << stage, stride, name)
                              : resnet_basic_block(p, x, base << stage, stride, name);
        }
    if (plan_average_pool(p, x) < 0) {
        plan_free(p);
        return NULL;
    }
    return p;
}
