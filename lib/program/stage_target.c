#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "engine/engine.h"
#include "program/stage_options.h"
#include "program/stage_parts.h"

bool stage_has_target(void)
{
    return stage_options.ema >= 0;
}

const struct tensor *stage_target_input(const struct stage_run *run, const struct frame *request,
                                        const struct tensor *input, const struct stage_sizes *s)
{
    const char *name = run->input_target;
    if (run->stage->images)
        return input;
    if (!frame_find(request, name))
        return fail_null("the frame has no tensor %s, from which --ema computes %s: give the stage "
                         "before this one --ema as well",
                         name, run->output_target);
    return frame_need(request, name, DTYPE_F32, 3, (const int64_t[]){s->b, s->v, s->c});
}

/* Adds the momentum network's sums over all workers. Their names begin with "ema/", so that they
 * are never added to those of another worker's own network. */
static int add(const char *name, int64_t *values, size_t count, void *user)
{
    char own[300];
    snprintf(own, sizeof own, "ema/%.290s", name);
    return stage_sync_add(own, values, count, user);
}

int stage_target_start(struct stage_run *run)
{
    struct engine *engine = stage_engine();
    if (!engine || !(run->slow = network_copy(run->net, engine)))
        return -1;
    if (run->sync)
        network_share(run->slow, add, run);
    return 0;
}

void stage_target_joined(struct stage_run *run)
{
    const struct parameters *from = network_parameters(run->net);
    const struct parameters *to = network_parameters(run->slow);
    for (int i = 0; i < to->n; i++)
        if (to->list[i].buffer)
            memcpy(to->list[i].value, from->list[i].value, parameters_bytes(&to->list[i]));
    network_parameters_changed(run->slow);
}

int stage_target_forward(struct stage_run *run, const struct tensor *input,
                         const struct network_shape *shape, float *out)
{
    if (!run->slow) { /* the identity */
        memcpy(out, input->data, input->bytes);
        return 0;
    }
    struct network_shape forward = *shape;
    forward.forward_only = true;
    forward.input_grad = false;
    const bool bytes = input->dtype == DTYPE_U8;
    return network_prepare(run->slow, &forward) ||
                   network_forward(run->slow, bytes ? input->data : NULL,
                                   bytes ? NULL : input->data, &run->stage->normalization, out)
               ? -1
               : 0;
}
