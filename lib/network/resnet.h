/* resnet: residual networks as plans (arXiv 1512.03385, table 1), with torchvision's names and in
 * its v1.5 form, in which the 3x3 convolution of a bottleneck has the stride. */
#ifndef RESNET_H
#define RESNET_H

#include "network/plan.h"

enum resnet_stem {
    RESNET_STEM_CIFAR,   /* 3x3 convolution with stride 1 */
    RESNET_STEM_IMAGENET /* 7x7 convolution with stride 2, then max pooling */
};

/* Returns the number of channels of the first stage of a network of that width:
 * max(1, round(64 x width)). */
int64_t resnet_base_channels(double width);

/* Returns a network of depth 18, 34, 50, 101 or 152. Its stages have max(1, round(64 x width))
 * channels times 1, 2, 4 and 8 (times 4 again in bottlenecks). The input has `channels` channels; the output
 * is one vector for each image, the mean over the last map. Returns NULL with a message on
 * failure. */
struct plan *resnet_plan(int depth, double width, enum resnet_stem stem, int64_t channels);

/* Returns a ResNet-D with selective kernels, as in SimCLRv2 (arXiv 2006.10029, section 3.1;
 * 1812.01187, section 4.2; 1903.06586), of depth 50, 101 or 152. Returns NULL with a message on
 * failure. It differs from resnet_plan()'s network in three places:
 *
 *   - The ImageNet stem is three 3x3 convolutions with half, half and all of its channels, the
 *     first of which has stride 2: conv1.0, conv1.3 and conv1.6, with norms conv1.1 and conv1.4
 *     between them and bn1 after the last, as if conv1 were
 *     Sequential(conv, norm, ReLU, conv, norm, ReLU, conv).
 *   - The shortcut of a stage's first block is the mean of 2x2 windows with the block's stride,
 *     followed by a 1x1 convolution of stride 1: downsample.0 with norm downsample.1. Stage 1,
 *     whose stride is 1, has the mean too.
 *   - A bottleneck of c channels has a selective kernel instead of its 3x3 convolution. conv2
 *     [2c,c,3,3] with norm bn2 and ReLU computes two halves. The weights of the halves come from
 *     the mean of their sum: sk.0 [m,c,1,1], norm sk.1, ReLU, sk.3 [2c,m,1,1], softmax over the
 *     halves (plan_halves_mix()). m is c / 16, but at least 32.
 *
 * PyTorch's conversions of the official models compute the same. The official code itself differs
 * at edges: its max pooling is padded below and to the right only, and stage 1's mean does not
 * include pixels beyond the edge. */
struct plan *resnet_sk_plan(int depth, double width, enum resnet_stem stem, int64_t channels);

/* Returns the same network as resnet_plan() for series. Its
 * convolutions run along one row and have weights [O,I,k], as PyTorch's Conv1d has. Returns NULL
 * with a message on failure. */
struct plan *resnet_series_plan(int depth, double width, enum resnet_stem stem, int64_t channels);

/* Returns the number of operations in the first `blocks` blocks of such a plan, for plan_freeze().
 * 1 is the stem, 2 is the stem and layer1, and 5 is everything, including the mean at the end. */
int resnet_operations(const struct plan *p, int blocks);

/* Each appends one residual block to a plan, with parameters BLOCK.conv1.weight and so on. A
 * bottleneck has 4 x channels outputs. Returns the block's output tensor, or -1 with a message. If
 * `in` is -1, returns -1 (plan.h). */
int resnet_basic_block(struct plan *p, int in, int64_t channels, int64_t stride, const char *block);
int resnet_bottleneck(struct plan *p, int in, int64_t channels, int64_t stride, const char *block);
int resnet_sk_bottleneck(struct plan *p, int in, int64_t channels, int64_t stride,
                         const char *block);

#endif
