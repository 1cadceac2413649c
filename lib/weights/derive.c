#include "weights/derive.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum { STAGES = 4, MAX_BLOCKS = 64, MAX_LAYERS = 4, MAX_CHANNELS = 1 << 16, MAX_WIDTH = 1 << 20 };

/* The networks by what tells them apart: blocks in each stage, bottlenecks, series. */
static const struct shape {
    const char *arch;
    int blocks[STAGES];
    bool bottlenecks, series;
} shapes[] = {
    {"resnet18", {2, 2, 2, 2}, false, false},  {"resnet34", {3, 4, 6, 3}, false, false},
    {"resnet50", {3, 4, 6, 3}, true, false},   {"resnet101", {3, 4, 23, 3}, true, false},
    {"resnet152", {3, 8, 36, 3}, true, false}, {"resnet1d", {2, 2, 2, 2}, false, true},
    {"resnet1d34", {3, 4, 6, 3}, false, true}, {"resnet1d50", {3, 4, 6, 3}, true, true},
};

static const struct tensor *find(const struct frame *f, int stage, int block, const char *what)
{
    char name[64];
    snprintf(name, sizeof name, "layer%d.%d.%s", stage + 1, block, what);
    return frame_find(f, name);
}

static const char *find_arch(const struct frame *f, bool series)
{
    const bool bottlenecks = find(f, 0, 0, "conv3.weight") != NULL;
    int blocks[STAGES];
    for (int s = 0; s < STAGES; s++) {
        blocks[s] = 0;
        while (blocks[s] < MAX_BLOCKS && find(f, s, blocks[s], "conv1.weight"))
            blocks[s]++;
    }
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (memcmp(shapes[i].blocks, blocks, sizeof blocks) == 0 && shapes[i].series == series &&
            shapes[i].bottlenecks == bottlenecks)
            return shapes[i].arch;
    return NULL;
}

bool derive_encoder(const struct frame *f, struct encoder *e)
{
    const struct tensor *deep = frame_find(f, "conv1.0.weight");
    const struct tensor *first = deep ? deep : frame_find(f, "conv1.weight");
    const struct tensor *norm = frame_find(f, "bn1.weight");
    if (!first || !norm || (first->ndim != 3 && first->ndim != 4) || norm->ndim != 1)
        return false;
    *e = (struct encoder){.arch = find_arch(f, first->ndim == 3),
                          .width = (double)norm->shape[0] / 64,
                          .selective = find(f, 0, 0, "sk.0.weight") != NULL,
                          .channels = first->shape[1]};
    normalization_parse("none", &e->normalize);
    const int64_t kernel = first->shape[first->ndim - 1];
    e->stem = deep || kernel == 7 ? RESNET_STEM_IMAGENET : RESNET_STEM_CIFAR;
    return e->arch && (kernel == 3 || (kernel == 7 && !deep)) && norm->shape[0] >= 1 &&
           e->width <= 64 && e->channels >= 1 && e->channels <= MAX_CHANNELS;
}

bool derive_projector(const struct frame *f, struct projector *p)
{
    *p = (struct projector){0};
    for (int l = 0; l <= MAX_LAYERS; l++) {
        char name[32];
        snprintf(name, sizeof name, "projector.%d.weight", 3 * l);
        const struct tensor *t = frame_find(f, name);
        if (!t)
            return p->layers > 0;
        if (l == MAX_LAYERS || t->ndim != 2 || t->shape[0] < 1 || t->shape[0] > MAX_WIDTH ||
            (l > 0 && t->shape[1] != p->dim) || (l > 1 && p->dim != p->hidden))
            return false;
        p->hidden = l > 0 ? p->dim : 0;
        p->dim = t->shape[0];
        p->layers++;
    }
    return false;
}

int64_t derive_classes(const struct frame *f)
{
    const struct tensor *t = frame_find(f, "fc.weight");
    return t && t->ndim == 2 ? t->shape[0] : 0;
}
