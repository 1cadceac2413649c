#include "program/stage.h"
#include "base/warn.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "link/link.h"
#include "link/server.h"
#include "network/initialize.h"
#include "program/checkpoint.h"
#include "program/link_options.h"
#include "program/optimizer_client.h"
#include "report/metrics.h"

static struct {
    const char *next, *opt, *sync, *wire, *init, *precision, *kernel;
    int64_t seed, threads;
} config = {.next = "",
            .opt = "",
            .sync = "",
            .wire = "fp32",
            .init = "",
            .precision = "fp32",
            .kernel = "auto"};

const struct option_spec stage_option_specs[] = {
    {.name = "init",
     .kind = OPTION_STRING,
     .value = &config.init,
     .argument = "FILE",
     .help = "start from this checkpoint"},
    {.name = "seed",
     .kind = OPTION_INT,
     .value = &config.seed,
     .argument = "N",
     .min = 0,
     .max = 9007199254740992,
     .help = "of the initial parameters"},
    {.name = "opt",
     .kind = OPTION_STRING,
     .value = &config.opt,
     .argument = "LINK",
     .help = "the optimizer, which owns the parameters"},
    {.name = "wire",
     .kind = OPTION_CHOICE,
     .value = &config.wire,
     .argument = "TYPE",
     .choices = "fp32|bf16",
     .help = "of gradients and weights on their way to the optimizer and back"},
    {.name = "threads",
     .kind = OPTION_INT,
     .value = &config.threads,
     .argument = "N",
     .min = 1,
     .max = 1024,
     .help = "the result does not depend on it"},
    {.name = "precision",
     .kind = OPTION_CHOICE,
     .value = &config.precision,
     .argument = "P",
     .choices = engine_precisions,
     .help = "of the network's arithmetic"},
    {.name = "kernel",
     .kind = OPTION_CHOICE,
     .value = &config.kernel,
     .argument = "K",
     .choices = engine_kernels,
     .help = "that multiplies; auto: the fastest here"},
    {0},
};

const struct option_spec stage_link_option_specs[] = {
    {.name = "next",
     .kind = OPTION_STRING,
     .value = &config.next,
     .argument = "LINK",
     .help = "train: where the output goes and its gradient comes from"},
    {.name = "sync",
     .kind = OPTION_STRING,
     .value = &config.sync,
     .argument = "LINK",
     .help = "a reduce, for batch norm over the batch of all workers"},
    {0},
};

void stage_defaults(void)
{
    config.threads = omp_get_max_threads();
}

/* A running stage. */
struct run {
    const struct stage *stage;
    struct network *net; /* NULL until the first request, and for the identity */
    struct link *next, *opt, *sync;
    struct optimizer_client *client;
    const struct frame *step; /* the request of the step under way */
    bool asked;               /* the optimizer, for parameters that it has not answered with yet */
    char dinput[16], doutput[16];
};

static bool trains(const struct stage *stage)
{
    return stage->loss ? *config.opt != 0 : *config.next != 0;
}

/* The input's sizes; a vector is an image of 1x1. */
struct sizes {
    int64_t b, v, h, w, c, images;
};

static const struct tensor *find_input(const struct run *run, const struct frame *request,
                                       struct sizes *s)
{
    const char *name = run->stage->input;
    const int64_t any[5] = {-1, -1, -1, -1, -1};
    const struct tensor *t = frame_find(request, name);
    const bool bytes = run->stage->images && t && t->dtype == DTYPE_U8;
    t = frame_need(request, name, bytes ? DTYPE_U8 : DTYPE_F32, run->stage->images ? 5 : 3, any);
    if (!t)
        return NULL;
    *s = (struct sizes){.b = t->shape[0], .v = t->shape[1], .h = 1, .w = 1, .c = t->shape[2]};
    if (run->stage->images) {
        s->h = t->shape[2];
        s->w = t->shape[3];
        s->c = t->shape[4];
    }
    if (s->b == 0 && trains(run->stage)) {
        return fail_null("%s has no rows, and a training step needs some", name);
    }
    if ((s->b && !tensor_count(t)) || __builtin_mul_overflow(s->b, s->v, &s->images)) {
        return fail_null("%s is empty", name);
    }
    if (bytes && s->c > 3) {
        return fail_null("%s has %lld channels of bytes: 3 are the most", name, (long long)s->c);
    }
    if (run->net && s->c != network_inputs(run->net)) {
        return fail_null("%s has %lld channels, the network takes %lld", name, (long long)s->c,
                         (long long)network_inputs(run->net));
    }
    return t;
}

/* How many of the batch's grains these b images are. -1 with a message. */
static int64_t local_grains(const struct frame *request, int64_t b)
{
    int64_t grains, batch, all;
    if (frame_meta_int(request, "grains", 1, &grains) ||
        frame_meta_int(request, "batch", b, &batch))
        return -1;
    if (grains < 1 || (grains & (grains - 1)) || batch < 1 || batch % grains)
        return fail("%lld grains: not a power of two that divides a batch of %lld",
                    (long long)grains, (long long)batch);
    /* A share that is no whole number of grains is summed as one. */
    if (b > batch || __builtin_mul_overflow(b, grains, &all) || all % batch)
        return 1;
    return all / batch;
}

static void copy_metas(struct frame *to, const struct frame *from, const char *const *keys)
{
    for (; *keys; keys++)
        if (frame_meta(from, *keys))
            frame_set_meta(to, *keys, frame_meta(from, *keys));
}

/* Batch norm's sums of this worker become those of all workers (network_share()). */
static int add_workers(const char *name, int64_t *values, size_t count, void *user)
{
    struct run *run = user;
    const int64_t shape[] = {(int64_t)count};
    struct frame *f = frame_new(&(struct tensor_spec){name, DTYPE_I64, 1, {shape[0]}}, 1), *sum;
    if (!f)
        return -1;
    memcpy(frame_find(f, name)->data, values, count * sizeof *values);
    frame_set_meta(f, "kind", "statistics");
    copy_metas(f, run->step, (const char *const[]){"step", "rank", "world", NULL});
    if (link_request(run->sync, f, &sum))
        return -1;
    const struct tensor *t = frame_need(sum, name, DTYPE_I64, 1, shape);
    int bad = t ? 0 : fail_prefix("%s", link_name(run->sync));
    if (t && sum->n_tensors != 1) /* workers that ran different networks, or in another order */
        bad = fail("%s: other workers sent another tensor than %s", link_name(run->sync), name);
    if (!bad)
        memcpy(values, t->data, t->bytes);
    frame_free(sum);
    return bad;
}

/* On the first request: makes the network. */
static int start(struct run *run, const struct frame *request, const struct tensor *input)
{
    struct engine engine;
    if ((run->stage->begin && run->stage->begin(request)) ||
        engine_choose(config.precision, config.kernel, &engine))
        return -1;
    struct plan *plan = run->stage->make_plan(input);
    if (!plan)
        return -1;
    run->net = network_new(plan, &engine, (int)config.threads);
    if (!run->net)
        return -1;
    if (run->sync)
        network_share(run->net, add_workers, run);
    struct parameters *p = network_parameters(run->net);
    initialize_parameters(p, (uint64_t)config.seed);
    return *config.init ? checkpoint_load(p, config.init, run->stage->flags) : 0;
}

/* On the first request of a training run: takes over the optimizer's parameters. */
static int join(struct run *run, const struct frame *request)
{
    int64_t step, next_step;
    if (frame_meta_int(request, "step", 0, &step))
        return -1;
    run->client = optimizer_client_new(run->opt, network_parameters(run->net),
                                       !strcmp(config.wire, "bf16") ? DTYPE_BF16 : DTYPE_F32);
    if (!run->client || optimizer_join(run->client, request, &next_step))
        return -1;
    if (step != next_step)
        return fail("augment starts at step %lld, the optimizer is at step %lld: start it with "
                    "--start %lld",
                    (long long)step, (long long)next_step, (long long)next_step);
    network_parameters_changed(run->net);
    return 0;
}

static int forward(struct run *run, const struct tensor *input, float *out)
{
    if (!run->net) {
        memcpy(out, input->data, input->bytes);
        return 0;
    }
    const bool bytes = input->dtype == DTYPE_U8;
    return network_forward(run->net, bytes ? input->data : NULL, bytes ? NULL : input->data,
                           &run->stage->normalization, out);
}

/* The request with the output in the input's place. An evaluation's frame may have no rows at all.
 * NULL with a message. */
static struct frame *output_frame(struct run *run, const struct frame *request,
                                  const struct tensor *input, const struct sizes *s, int64_t grains)
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
    const int64_t width = run->net ? network_outputs(run->net) : s->c;
    struct frame *f = frame_derive(
        request, &(struct tensor_spec){run->stage->output, DTYPE_F32, 3, {s->b, s->v, width}}, 1,
        (const char *const[]){run->stage->input, NULL});
    if (!f)
        return NULL;
    if (grains > 0) /* what classes are called is for the evaluator alone */
        frame_drop_meta(f, "class_names");
    if (s->images && forward(run, input, frame_find(f, run->stage->output)->data)) {
        frame_free(f);
        return NULL;
    }
    return f;
}

static int push(int parameter, void *user)
{
    return optimizer_push(user, parameter);
}

/* Gradients of the parameters go to the optimizer while they are made. */
static int backward(struct run *run, const struct frame *request, const struct tensor *gradient,
                    float *dinput)
{
    if (!run->net) {
        if (dinput)
            memcpy(dinput, gradient->data, gradient->bytes);
        return 0;
    }
    run->asked = true;
    return optimizer_begin(run->client, request) ||
                   network_backward(run->net, gradient->data, dinput, push, run->client)
               ? -1
               : 0;
}

/* New values come back. *lr: as optimizer_finish() says. */
static int update(struct run *run, const char **lr)
{
    *lr = "";
    if (!run->asked)
        return 0;
    run->asked = false;
    if (optimizer_finish(run->client, lr))
        return -1;
    network_parameters_changed(run->net);
    return 0;
}

/* The head of the pipeline tells the rate, so it waits for the update before it answers; others
 * let their callers go on meanwhile. Views are those of the whole batch: other workers' too. */
static int add_metrics(struct run *run, const struct sizes *s, double began, struct frame *reply)
{
    const char *lr;
    int64_t batch;
    if (frame_meta_int(reply, "batch", s->b, &batch) || update(run, &lr))
        return -1;
    if (*lr)
        frame_set_meta(reply, "lr", lr);
    frame_set_meta_float(reply, "views_per_s",
                         (float)((double)(batch * s->v) / (clock_now() - began)));
    return 0;
}

/* A stage with a loss of its own tells the rate too: in front of it may be an encoder that has
 * none, since all of it is frozen. */
static int add_rate(struct run *run, struct frame *reply)
{
    const char *lr;
    if (update(run, &lr))
        return -1;
    if (*lr)
        frame_set_meta(reply, "lr", lr);
    return 0;
}

/* What the caller gets: metrics, or the input's gradient with what came along with the output's. */
static struct frame *training_reply(const struct run *run, const struct frame *request,
                                    const struct frame *answer, const struct sizes *s)
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
        copy_metas(reply, request,
                   (const char *const[]){"step", "steps", "steps_per_epoch", "batch", "epoch",
                                         "rank", "world", NULL});
        metrics_pass(reply, answer, request);
    }
    return reply;
}

/* The output's gradient, and what is known of the loss. Consumes the output. */
static int ask(struct run *run, struct frame *out, struct frame **answer)
{
    if (!run->stage->loss)
        return link_request(run->next, out, answer);
    *answer = run->stage->loss(out, (int)config.threads);
    frame_free(out);
    return *answer ? 0 : -1;
}

/* Any program may be the loss; parameters shall not be updated by one that has lost its way. */
static int check_loss(const struct frame *request, const struct frame *answer)
{
    double loss;
    if (frame_meta_double(answer, "loss", 0, &loss))
        return -1;
    const char *step = frame_meta(request, "step");
    return isfinite(loss) ? 0 : fail("the loss is not finite in step %s", step ? step : "?");
}

/* One training step. NULL with a message. */
static struct frame *train(struct run *run, const struct frame *request)
{
    const double began = clock_now();
    struct sizes s;
    const struct tensor *input = find_input(run, request, &s);
    if (!input)
        return NULL;
    const int64_t grains = local_grains(request, s.b);
    if (grains < 0)
        return NULL;
    run->step = request;
    if (!run->net && !run->stage->identity && (start(run, request, input) || join(run, request)))
        return NULL;
    struct frame *out = output_frame(run, request, input, &s, grains), *answer, *reply;
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

static struct frame *infer(struct run *run, const struct frame *request)
{
    struct sizes s;
    const struct tensor *input = find_input(run, request, &s);
    if (!input || (!run->net && !run->stage->identity && start(run, request, input)))
        return NULL;
    return output_frame(run, request, input, &s, 0);
}

static int open_links(struct run *run)
{
    if (run->stage->identity && *config.init &&
        checkpoint_lacks(run->stage->part, config.init, run->stage->flags))
        return -1;
    if (*config.next && !(run->next = link_open(config.next, &link_options)))
        return -1;
    if (trains(run->stage) && *config.opt && !(run->opt = link_open(config.opt, &link_options)))
        return -1;
    if (*config.sync && !(run->sync = link_open(config.sync, &link_options)))
        return -1;
    return 0;
}

static int serve(struct run *run, struct server *server)
{
    struct frame *request;
    int client;
    enum server_result got;
    while ((got = server_next(server, &request, &client, NULL)) == SERVER_REQUEST) {
        struct sizes s;
        if (!find_input(run, request, &s) && !server_refuse(server, client, false)) {
            frame_free(request);
            continue;
        }
        struct frame *reply = trains(run->stage) ? train(run, request) : infer(run, request);
        frame_free(request);
        const char *lr;
        if (!reply || server_reply(server, client, reply) || update(run, &lr))
            return -1;
    }
    return got == SERVER_ENDED ? 0 : -1;
}

/* The end goes to every peer before any is waited for. */
static int end_links(struct run *run)
{
    int status = 0;
    struct link *const links[] = {run->next, run->opt, run->sync};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (links[i] && link_end(links[i]))
            status = -1;
    return status;
}

static int close_links(struct run *run)
{
    optimizer_client_free(run->client);
    int status = link_close(run->next);
    if (link_close(run->opt))
        status = -1;
    if (link_close(run->sync))
        status = -1;
    network_free(run->net);
    return status;
}

int stage_run(const struct stage *stage)
{
    struct run run = {.stage = stage};
    snprintf(run.dinput, sizeof run.dinput, "d%s", stage->input);
    snprintf(run.doutput, sizeof run.doutput, "d%s", stage->output);
    if (*config.next && !*config.opt && !stage->identity)
        options_reject("--next needs --opt: who else would own the parameters?");
    if (*config.opt && !trains(stage))
        options_reject("--opt needs --next: without it nothing is trained");
    if (*config.sync && !*config.next)
        options_reject("--sync needs --next: it is for training");
    struct server *server = server_open(&server_options);
    if (!server)
        return warn_failure();
    if (open_links(&run) || serve(&run, server) || end_links(&run)) {
        const int status = warn_failure(); /* first, so that the culprit's line leads a log */
        server_abandon(server);
        close_links(&run);
        return status;
    }
    if (close_links(&run)) {
        const int status = warn_failure();
        server_abandon(server);
        return status;
    }
    return server_end(server) ? warn_failure() : 0;
}
