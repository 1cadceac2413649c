#include "base/fail.h"
#include "program/stage_parts.h"

const struct tensor *stage_input_find(const struct stage_run *run, const struct frame *request,
                                      struct stage_sizes *s)
{
    const char *name = run->stage->input;
    const int64_t any[5] = {-1, -1, -1, -1, -1};
    const struct tensor *t = frame_find(request, name);
    const bool bytes = run->stage->images && t && t->dtype == DTYPE_U8;
    t = frame_need(request, name, bytes ? DTYPE_U8 : DTYPE_F32, run->stage->images ? 5 : 3, any);
    if (!t)
        return NULL;
    *s = (struct stage_sizes){.b = t->shape[0], .v = t->shape[1], .h = 1, .w = 1, .c = t->shape[2]};
    if (run->stage->images) {
        s->h = t->shape[2];
        s->w = t->shape[3];
        s->c = t->shape[4];
    }
    if (s->b == 0 && stage_trains(run->stage))
        return fail_null("%s has no rows, and a training step needs some", name);
    if ((s->b && !tensor_count(t)) || __builtin_mul_overflow(s->b, s->v, &s->images))
        return fail_null("%s is empty", name);
    if (bytes && s->c > NORMALIZATION_CHANNELS)
        return fail_null("%s has %lld channels of bytes: %d are the most", name, (long long)s->c,
                         NORMALIZATION_CHANNELS);
    if (run->net && s->c != network_inputs(run->net))
        return fail_null("%s has %lld channels, the network takes %lld", name, (long long)s->c,
                         (long long)network_inputs(run->net));
    if (stage_has_target() && !stage_target_input(run, request, t, s))
        return NULL;
    return t;
}

int64_t stage_input_grains(const struct frame *request, int64_t b)
{
    int64_t grains, batch, all;
    if (frame_meta_int(request, "grains", 1, &grains) ||
        frame_meta_int(request, "batch", b, &batch))
        return -1;
    if (grains < 1 || (grains & (grains - 1)) || batch < 1 || batch % grains)
        return fail("%lld grains: not a power of two that divides a batch of %lld",
                    (long long)grains, (long long)batch);
    /* If a worker's part is not a whole number of grains, it is summed as one grain. */
    if (b > batch || __builtin_mul_overflow(b, grains, &all) || all % batch)
        return 1;
    return all / batch;
}
