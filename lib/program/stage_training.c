#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "program/metas.h"
#include "program/stage_options.h"
#include "program/stage_parts.h"
#include "report/metrics.h"

/* Joins on the first request of a training run: receives the optimizer's parameters. */
static int join(struct stage_run *run, const struct frame *request)
{
    int64_t step, next_step;
    if (frame_meta_int(request, "step", 0, &step))
        return -1;
    run->client =
        optimizer_client_new(run->opt, network_parameters(run->net),
                             !strcmp(stage_options.wire, "bf16") ? DTYPE_BF16 : DTYPE_F32);
    if (!run->client || (stage_has_target() && stage_target_start(run)))
        return -1;
    if (run->slow)
        optimizer_client_keep_slow(run->client, network_parameters(run->slow), stage_options.ema);
    if (optimizer_client_join(run->client, request, run->description, &next_step))
        return -1;
    if (step != next_step)
        return fail("augment starts at step %lld, the optimizer is at step %lld: start it with "
                    "--start %lld",
                    (long long)step, (long long)next_step, (long long)next_step);
    network_parameters_changed(run->net);
    if (run->slow)
        stage_target_joined(run);
    return 0;
}

static int push(int parameter, void *user)
{
    return optimizer_client_push(user, parameter);
}

/* Runs the backward pass, which sends each parameter's gradient as soon as it is complete. */
static int backward(struct stage_run *run, const struct frame *request,
                    const struct tensor *gradient, float *dinput)
{
    if (!run->net) {
        if (dinput)
            memcpy(dinput, gradient->data, gradient->bytes);
        return 0;
    }
    run->awaits_update = true;
    return optimizer_client_begin(run->client, request) ||
                   network_backward(run->net, gradient->data, dinput, push, run->client)
               ? -1
               : 0;
}

int stage_training_update(struct stage_run *run, const char **lr)
{
    *lr = "";
    if (!run->awaits_update)
        return 0;
    run->awaits_update = false;
    if (optimizer_client_finish(run->client, lr))
        return -1;
    network_parameters_changed(run->net);
    if (run->slow)
        network_parameters_changed(run->slow);
    return 0;
}

/* Adds the metrics of the pipeline's head. It reports the learning rate and the norm of its
 * gradient, so it waits for the update before it answers; other stages let their callers go on
 * meanwhile. The number of views is that of the whole batch, including other workers' views. */
static int add_metrics(struct stage_run *run, const struct stage_sizes *s, double began,
                       struct frame *reply)
{
    const char *lr;
    int64_t batch;
    const bool updates = run->awaits_update;
    if (frame_meta_int(reply, "batch", s->b, &batch) || stage_training_update(run, &lr))
        return -1;
    const double norm = updates ? optimizer_client_grad_norm(run->client) : NAN;
    if (!isnan(norm))
        frame_set_meta_float(reply, "grad_norm", (float)norm);
    if (*lr)
        frame_set_meta(reply, "lr", lr);
    frame_set_meta_float(reply, "views_per_s",
                         (float)((double)(batch * s->v) / (clock_now() - began)));
    return 0;
}

/* Adds the learning rate to the reply of a stage with a loss of its own. The encoder before it may
 * have none to report, because it can be frozen as a whole. */
static int add_rate(struct stage_run *run, struct frame *reply)
{
    const char *lr;
    if (stage_training_update(run, &lr))
        return -1;
    if (*lr)
        frame_set_meta(reply, "lr", lr);
    return 0;
}

/* Returns the reply to the caller: metrics, or the input's gradient (not yet computed) with the
 * metadata of the output's gradient. */
static struct frame *training_reply(const struct stage_run *run, const struct frame *request,
                                    const struct frame *answer, const struct stage_sizes *s)
{
    struct frame *reply = NULL;
    if (!run->stage->metrics) {
        reply = frame_new(&(struct tensor_spec){run->dinput, DTYPE_F32, 3, {s->b, s->v, s->c}}, 1);
        if (reply)
            frame_inherit_metas(reply, answer);
        return reply;
    }
    reply = frame_new(NULL, 0);
    if (reply) {
        frame_set_meta(reply, "kind", "metrics");
        metas_copy(reply, request,
                   (const char *const[]){"step", "steps", "steps_per_epoch", "batch", "epoch",
                                         "rank", "world", NULL});
        metrics_pass(reply, answer, request);
    }
    return reply;
}

/* Sets *answer to a new frame with the output's gradient and the loss's metrics. Consumes the
 * output. */
static int ask(struct stage_run *run, struct frame *out, struct frame **answer)
{
    if (!run->stage->loss)
        return link_request(run->next, out, answer);
    *answer = run->stage->loss(out, (int)stage_options.threads);
    frame_free(out);
    return *answer ? 0 : -1;
}

/* Checks that the loss has not diverged before its gradient updates any parameters. The loss may be
 * any program. */
static int check_loss(const struct frame *request, const struct frame *answer)
{
    double loss;
    if (frame_meta_double(answer, "loss", 0, &loss))
        return -1;
    const char *step = frame_meta(request, "step");
    return isfinite(loss) ? 0 : fail("the loss is not finite in step %s", step ? step : "?");
}

struct frame *stage_training_step(struct stage_run *run, const struct frame *request)
{
    const double began = clock_now();
    struct stage_sizes s;
    const struct tensor *input = stage_input_find(run, request, &s);
    if (!input)
        return NULL;
    const int64_t grains = stage_input_grains(request, s.b);
    if (grains < 0)
        return NULL;
    run->step = request;
    if (!run->net && !run->stage->identity &&
        (stage_forward_start(run, request, input) || join(run, request)))
        return NULL;
    struct frame *out = stage_forward(run, request, input, &s, grains), *answer, *reply;
    if (!out)
        return NULL;
    const struct tensor made = *frame_find(out, run->stage->output);
    if (ask(run, out, &answer))
        return NULL;
    const struct tensor *gradient = frame_need(answer, run->doutput, DTYPE_F32, 3, made.shape);
    if (gradient && check_loss(request, answer))
        gradient = NULL;
    reply = gradient ? training_reply(run, request, answer, &s) : NULL;
    float *dinput = reply && !run->stage->metrics ? frame_find(reply, run->dinput)->data : NULL;
    if (reply && (backward(run, request, gradient, dinput) ||
                  (run->stage->metrics && add_metrics(run, &s, began, reply)) ||
                  (run->stage->loss && add_rate(run, reply)))) {
        frame_free(reply);
        reply = NULL;
    }
    frame_free(answer);
    return reply;
}
