#include "network/head.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>

/* Appends a linear map and its norm, unless `plain`. Returns the output, or -1 with a message. */
static int append(struct plan *p, int x, const char *part, int l, int64_t width, bool last,
                  bool plain)
{
    char name[32];
    snprintf(name, sizeof name, "%s.%d", part, 3 * l);
    x = plan_linear(p, x, width, name);
    if (plain)
        return x;
    snprintf(name, sizeof name, "%s.%d", part, 3 * l + 1);
    return plan_batch_norm(
        p, x,
        &(struct plan_norm){.name = name, .residual = -1, .relu = !last, .without_bias = last});
}

static struct plan *make(const char *part, bool plain_end, int layers, int64_t in, int64_t hidden,
                         int64_t out)
{
    assert(layers >= 1);
    struct plan *p = plan_new(in);
    if (!p)
        return NULL;
    int x = 0;
    for (int l = 0; l < layers; l++) {
        const bool last = l == layers - 1;
        x = append(p, x, part, l, last ? out : hidden ? hidden : in, last, last && plain_end);
    }
    if (x < 0) {
        plan_free(p);
        return NULL;
    }
    return p;
}

struct plan *head_plan(int layers, int64_t in, int64_t hidden, int64_t out)
{
    return make("projector", false, layers, in, hidden, out);
}

struct plan *head_predictor_plan(int layers, int64_t in, int64_t hidden, int64_t out)
{
    return make("predictor", true, layers, in, hidden, out);
}
