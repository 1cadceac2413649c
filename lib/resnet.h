/* resnet: residual networks as plans, under torchvision's names and in its v1.5 form (the stride
 * of a bottleneck is on its 3x3 convolution). arXiv 1512.03385, table 1. */
#ifndef RESNET_H
#define RESNET_H

#include "plan.h"

enum resnet_stem {
    RESNET_STEM_CIFAR,   /* 3x3 convolution with stride 1 */
    RESNET_STEM_IMAGENET /* 7x7 convolution with stride 2, then max pooling */
};

/* Depth 18, 34, 50, 101 or 152; the stages have max(1, round(64 x width)) channels times 1, 2, 4
 * and 8 (times 4 again in bottlenecks). The input has 3 channels, the output is one vector an
 * image: the mean over the last map. NULL with a message. */
struct plan *resnet_plan(int depth, double width, enum resnet_stem stem);

/* One residual block, appended to a plan: its parameters are BLOCK.conv1.weight and so on. A
 * bottleneck makes 4 x channels. Returns the tensor it makes, or -1, as plan_convolution() does. */
int resnet_basic_block(struct plan *p, int in, int64_t channels, int64_t stride, const char *block);
int resnet_bottleneck(struct plan *p, int in, int64_t channels, int64_t stride, const char *block);

#endif
