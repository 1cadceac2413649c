/* Fuzzes frames of features for the evaluator, one after the other, and each also as a checkpoint
 * of a head and of a network. */
#include "evaluate/feature_set.h"

#include <assert.h>

#include "input.h"
#include "network/head.h"
#include "network/resnet.h"
#include "program/checkpoint.h"
#include "program/parameter_frames.h"

static void load(struct parameters *p, const struct frame *f)
{
    parameter_frames_load(p, f, "it");
    checkpoint_take(p, f, "it", "flags");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct plan *head, *network;
    if (!head) {
        head = head_plan(1, 2, 0, 3);
        network = resnet_plan(18, 0.01, RESNET_STEM_CIFAR, 3);
        assert(head && network);
    }
    struct input rest = {bytes, size}, part;
    struct feature_set set = {0};
    static const char *const names[] = {"", "h", "z", "x"};
    const char *on = names[input_byte(&rest) % 4];
    bool good = true;
    while (good && input_part(&rest, &part)) {
        struct frame *f = input_frame(part);
        if (f) {
            load(&head->parameters, f);
            load(&network->parameters, f);
        }
        good = f && !feature_set_add(&set, f, on);
        frame_free(f);
    }
    for (int64_t i = 0; good && i < set.n; i++)
        assert(set.y[i] >= 0 && set.y[i] < set.classes);
    for (int64_t i = 0; good && i < set.n * set.width; i++)
        assert(set.x[i] - set.x[i] == 0);
    feature_set_free(&set);
    return 0;
}
