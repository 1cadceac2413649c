#include <string.h>

#include "device/engine_opencl.h"
#include "engine/engine.h"
#include "network/initialize.h"
#include "program/checkpoint.h"
#include "program/stage_options.h"
#include "program/stage_parts.h"

struct engine *stage_engine(void)
{
    const int threads = (int)stage_options.threads;
    return strcmp(stage_options.device, "cpu")
               ? engine_opencl_new(stage_options.device, threads)
               : engine_choose(stage_options.precision, stage_options.kernel, threads);
}

int stage_forward_start(struct stage_run *run, const struct frame *request,
                        const struct tensor *input)
{
    if (run->stage->begin && run->stage->begin(request))
        return -1;
    run->net = network_new(run->stage->make_plan(input), run->engine);
    run->engine = NULL;
    if (!run->net)
        return -1;
    if (run->sync)
        network_share(run->net, stage_sync_add, run);
    struct parameters *p = network_parameters(run->net);
    initialize_parameters(p, (uint64_t)stage_options.seed);
    if (run->weights) {
        const int bad = checkpoint_take(p, run->weights, stage_options.init, run->stage->flags);
        frame_free(run->weights);
        run->weights = NULL;
        frame_trim_memory();
        if (bad)
            return -1;
    }
    if (!(run->description = frame_new(NULL, 0)))
        return -1;
    run->stage->describe(input, run->description);
    return 0;
}

/* Evaluates the network into out, or copies the input to out if there is no network. */
static int forward(struct stage_run *run, const struct tensor *input, float *out)
{
    if (!run->net) {
        memcpy(out, input->data, input->bytes);
        return 0;
    }
    const bool bytes = input->dtype == DTYPE_U8;
    return network_forward(run->net, bytes ? input->data : NULL, bytes ? NULL : input->data,
                           &run->stage->normalization, out);
}

/* Returns a new frame: the request with the outputs, which are not yet computed, in the place of
 * the inputs. There are two of each in training with --ema. */
static struct frame *make_output(const struct stage_run *run, const struct frame *request,
                                 const struct stage_sizes *s, bool training)
{
    const struct stage *stage = run->stage;
    const int64_t width = run->net ? network_outputs(run->net) : s->c;
    const struct tensor_spec outputs[] = {{stage->output, DTYPE_F32, 3, {s->b, s->v, width}},
                                          {run->output_target, DTYPE_F32, 3, {s->b, s->v, width}}};
    const bool target = training && stage_has_target();
    const char *const inputs[] = {stage->input, target ? run->input_target : NULL, NULL};
    return frame_derive(request, outputs, target ? 2 : 1, inputs);
}

/* Computes the targets from the request into the output's frame. */
static int forward_target(struct stage_run *run, const struct frame *request,
                          const struct tensor *input, const struct stage_sizes *s,
                          const struct network_shape *shape, const struct frame *out)
{
    const struct tensor *from = stage_target_input(run, request, input, s);
    return from ? stage_target_forward(run, from, shape, frame_find(out, run->output_target)->data)
                : -1;
}

struct frame *stage_forward(struct stage_run *run, const struct frame *request,
                            const struct tensor *input, const struct stage_sizes *s, int64_t grains)
{
    const int64_t chunk = run->stage->chunk < s->b ? run->stage->chunk * s->v : 0;
    const struct network_shape shape = {.images = s->images,
                                        .height = s->h,
                                        .width = s->w,
                                        .grains = grains,
                                        .chunk = chunk,
                                        .training = grains > 0,
                                        .input_grad = grains > 0 && !run->stage->metrics};
    if (run->net && s->images && network_prepare(run->net, &shape))
        return NULL;
    struct frame *f = make_output(run, request, s, grains > 0);
    if (!f)
        return NULL;
    if (grains > 0 && !run->stage->metrics) /* a loss does not need the names of classes */
        frame_drop_meta(f, "class_names");
    if (!grains && run->stage->logit_names && !run->named)
        frame_set_meta(f, "logit_names", run->stage->logit_names);
    run->named = true;
    if (s->images &&
        (forward(run, input, frame_find(f, run->stage->output)->data) ||
         (grains > 0 && stage_has_target() && forward_target(run, request, input, s, &shape, f)))) {
        frame_free(f);
        return NULL;
    }
    return f;
}
