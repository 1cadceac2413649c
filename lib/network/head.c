#include "network/head.h"

#include <assert.h>
#include <stdio.h>

struct plan *head_plan(int layers, int64_t in, int64_t hidden, int64_t out)
{
    assert(layers >= 1);
    struct plan *p = plan_new(in);
    if (!p)
        return NULL;
    int x = 0;
    for (int l = 0; l < layers; l++) {
        const bool last = l == layers - 1;
        char name[32];
        snprintf(name, sizeof name, "projector.%d", 3 * l);
        x = plan_linear(p, x, last ? out : hidden ? hidden : in, name);
        snprintf(name, sizeof name, "projector.%d", 3 * l + 1);
        x = plan_batch_norm(
            p, x,
            &(struct plan_norm){.name = name, .residual = -1, .relu = !last, .without_bias = last});
    }
    if (x < 0) {
        plan_free(p);
        return NULL;
    }
    return p;
}
