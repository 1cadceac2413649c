#include "network/resnet.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"

enum {
    SK_RATIO = 16, /* a selective kernel's channels, divided by those of its middle layer */
    SK_LEAST = 32  /* smallest number of channels of the middle layer */
};

static const struct architecture {
    int depth;
    bool bottleneck;
    int blocks[4];
} architectures[] = {
    {18, false, {2, 2, 2, 2}},  {34, false, {3, 4, 6, 3}},  {50, true, {3, 4, 6, 3}},
    {101, true, {3, 4, 23, 3}}, {152, true, {3, 8, 36, 3}},
};

/* A name within a block: BLOCK.conv1, for example. */
struct block_name {
    char text[64];
};

static struct block_name name_in(const char *block, const char *what)
{
    struct block_name n;
    snprintf(n.text, sizeof n.text, "%s.%s", block, what);
    return n;
}

static int norm_relu(struct plan *p, int in, const char *name)
{
    return plan_batch_norm(p, in, &(struct plan_norm){.name = name, .residual = -1, .relu = true});
}

/* Appends the shortcut that is added to the block's output: the block's input itself, or a 1x1
 * convolution of it if shapes differ. In a ResNet-D (`averaged`), a mean over windows before the
 * convolution has the stride. */
static int shortcut(struct plan *p, int in, int64_t channels, int64_t stride, bool averaged,
                    const char *block)
{
    if (in < 0 || (stride == 1 && p->channels[in] == channels))
        return in;
    int x = averaged ? plan_mean_pool(p, in, stride) : in;
    x = plan_convolution(p, x, channels, 1, averaged ? 1 : stride, 0,
                         name_in(block, "downsample.0").text);
    struct block_name norm = name_in(block, "downsample.1");
    return plan_batch_norm(p, x, &(struct plan_norm){.name = norm.text, .residual = -1});
}

int resnet_basic_block(struct plan *p, int in, int64_t channels, int64_t stride, const char *block)
{
    int x = plan_convolution(p, in, channels, 3, stride, 1, name_in(block, "conv1").text);
    x = norm_relu(p, x, name_in(block, "bn1").text);
    x = plan_convolution(p, x, channels, 3, 1, 1, name_in(block, "conv2").text);
    int side = shortcut(p, in, channels, stride, false, block);
    struct block_name norm = name_in(block, "bn2");
    return side < 0 ? -1
                    : plan_batch_norm(
                          p, x,
                          &(struct plan_norm){
                              .name = norm.text, .residual = side, .relu = true, .zero = true});
}

/* Appends a selective kernel in place of a 3x3 convolution and its norm. */
static int selective_kernel(struct plan *p, int in, int64_t channels, int64_t stride,
                            const char *block)
{
    const int64_t middle = channels / SK_RATIO > SK_LEAST ? channels / SK_RATIO : SK_LEAST;
    const int halves = norm_relu(
        p, plan_convolution(p, in, 2 * channels, 3, stride, 1, name_in(block, "conv2").text),
        name_in(block, "bn2").text);
    int x = plan_halves_mean(p, halves);
    x = plan_convolution(p, x, middle, 1, 1, 0, name_in(block, "sk.0").text);
    x = norm_relu(p, x, name_in(block, "sk.1").text);
    x = plan_convolution(p, x, 2 * channels, 1, 1, 0, name_in(block, "sk.3").text);
    return plan_halves_mix(p, halves, x);
}

static int bottleneck(struct plan *p, int in, int64_t channels, int64_t stride, bool selective,
                      const char *block)
{
    int x = plan_convolution(p, in, channels, 1, 1, 0, name_in(block, "conv1").text);
    x = norm_relu(p, x, name_in(block, "bn1").text);
    if (selective) {
        x = selective_kernel(p, x, channels, stride, block);
    } else {
        x = plan_convolution(p, x, channels, 3, stride, 1, name_in(block, "conv2").text);
        x = norm_relu(p, x, name_in(block, "bn2").text);
    }
    x = plan_convolution(p, x, 4 * channels, 1, 1, 0, name_in(block, "conv3").text);
    int side = shortcut(p, in, 4 * channels, stride, selective, block);
    struct block_name norm = name_in(block, "bn3");
    return side < 0 ? -1
                    : plan_batch_norm(
                          p, x,
                          &(struct plan_norm){
                              .name = norm.text, .residual = side, .relu = true, .zero = true});
}

int resnet_bottleneck(struct plan *p, int in, int64_t channels, int64_t stride, const char *block)
{
    return bottleneck(p, in, channels, stride, false, block);
}

int resnet_sk_bottleneck(struct plan *p, int in, int64_t channels, int64_t stride,
                         const char *block)
{
    return bottleneck(p, in, channels, stride, true, block);
}

/* Appends the stem, which is everything before the first block. The input has `channels`
 * channels. */
static int make_stem(struct plan *p, int64_t channels, enum resnet_stem stem, bool selective)
{
    int x = 0;
    if (stem == RESNET_STEM_CIFAR) {
        x = plan_convolution(p, x, channels, 3, 1, 1, "conv1");
    } else if (selective) {
        const int64_t half = channels > 1 ? channels / 2 : 1;
        x = norm_relu(p, plan_convolution(p, x, half, 3, 2, 1, "conv1.0"), "conv1.1");
        x = norm_relu(p, plan_convolution(p, x, half, 3, 1, 1, "conv1.3"), "conv1.4");
        x = plan_convolution(p, x, channels, 3, 1, 1, "conv1.6");
    } else {
        x = plan_convolution(p, x, channels, 7, 2, 3, "conv1");
    }
    x = norm_relu(p, x, "bn1");
    return stem == RESNET_STEM_IMAGENET ? plan_max_pool(p, x, 3, 2, 1) : x;
}

int resnet_operations(const struct plan *p, int blocks)
{
    char next[16];
    snprintf(next, sizeof next, "layer%d.", blocks);
    int i = 0;
    for (; i < p->n_operations; i++) {
        const int weight = p->operations[i].weight;
        if (weight >= 0 && !strncmp(p->parameters.list[weight].name, next, strlen(next)))
            break;
    }
    return i;
}

int64_t resnet_base_channels(double width)
{
    return (int64_t)fmax(1, round(64 * width));
}

/* Returns the architecture of that depth. Returns NULL with a message if there is none, or if the
 * network cannot have this width or selective kernels. */
static const struct architecture *find(int depth, double width, bool selective)
{
    const struct architecture *a = NULL;
    for (size_t i = 0; i < sizeof architectures / sizeof *architectures; i++)
        if (architectures[i].depth == depth)
            a = &architectures[i];
    if (!a)
        return fail_null("there is no ResNet-%d", depth);
    if (selective && !a->bottleneck)
        return fail_null("a ResNet-%d has no bottlenecks, so it takes no selective kernels", depth);
    if (!(width > 0) || width > 64)
        return fail_null("width %g is not between 0 and 64", width);
    return a;
}

/* Appends the network to p, which has only its input, and returns p. On failure frees p and returns
 * NULL with a message. p may be NULL if memory ran out for it; then returns NULL. */
static struct plan *build(struct plan *p, int depth, double width, enum resnet_stem stem,
                          bool selective)
{
    const struct architecture *a = p ? find(depth, width, selective) : NULL;
    if (!a) {
        plan_free(p);
        return NULL;
    }
    const int64_t base = resnet_base_channels(width);
    int x = make_stem(p, base, stem, selective);
    for (int stage = 0; stage < 4; stage++)
        for (int i = 0; i < a->blocks[stage]; i++) {
            char name[32];
            snprintf(name, sizeof name, "layer%d.%d", stage + 1, i);
            int64_t stride = stage > 0 && i == 0 ? 2 : 1;
            x = a->bottleneck ? bottleneck(p, x, base << stage, stride, selective, name)
                              : resnet_basic_block(p, x, base << stage, stride, name);
        }
    if (plan_average_pool(p, x) < 0) {
        plan_free(p);
        return NULL;
    }
    return p;
}

struct plan *resnet_plan(int depth, double width, enum resnet_stem stem, int64_t channels)
{
    return build(plan_new(channels), depth, width, stem, false);
}

struct plan *resnet_sk_plan(int depth, double width, enum resnet_stem stem, int64_t channels)
{
    return build(plan_new(channels), depth, width, stem, true);
}

struct plan *resnet_series_plan(int depth, double width, enum resnet_stem stem, int64_t channels)
{
    return build(plan_new_series(channels), depth, width, stem, false);
}
