#include "program/loss.h"
#include "base/warn.h"

#include <math.h>
#include <omp.h>

#include "base/fail.h"
#include "base/spread.h"
#include "link/server.h"
#include "program/link_options.h"
#include "program/loss_state.h"

static struct {
    bool no_normalize;
    int64_t threads;
    bool threads_given;
    const char *opt;
} config = {.opt = ""};

const struct option_spec loss_normalize_option_specs[] = {
    {.name = "no-normalize",
     .kind = OPTION_SWITCH,
     .value = &config.no_normalize,
     .help = "compare rows by dot products instead of cosines"},
    {0},
};

const struct option_spec loss_option_specs[] = {
    {.name = "threads",
     .kind = OPTION_INT,
     .value = &config.threads,
     .argument = "N",
     .min = 1,
     .max = 1024,
     .help = "the result does not depend on it [what the batch keeps busy, at most all cores or "
             "OMP_NUM_THREADS]",
     .given = &config.threads_given},
    {0},
};

const struct option_spec loss_state_option_specs[] = {
    {.name = "opt",
     .kind = OPTION_STRING,
     .value = &config.opt,
     .argument = "LINK",
     .help = "the optimizer, which keeps the loss's state"},
    {0},
};

bool loss_has_optimizer(void)
{
    return *config.opt != 0;
}

void loss_defaults(void)
{
    config.threads = omp_get_max_threads();
}

/* Points *in to the labels. Returns -1 with a message if they are missing or invalid. */
static int read_labels(const struct frame *request, int64_t images, struct loss_input *in)
{
    const struct tensor *y = frame_need(request, "y", DTYPE_I64, 1, &images);
    if (!y)
        return -1;
    in->labels = y->data;
    for (int64_t b = 0; b < images; b++)
        if (in->labels[b] < -1)
            return fail("y of image %lld is %lld: neither a label nor -1 for none", (long long)b,
                        (long long)in->labels[b]);
    return 0;
}

/* Points *in to the target projections, if the loss takes them and the request has them. Returns -1
 * with a message if they are needed and missing, or invalid. */
static int read_target(const struct loss *loss, const struct frame *request, const struct tensor *z,
                       struct loss_input *in)
{
    if (loss->target == LOSS_TARGET_UNUSED)
        return 0;
    if (!frame_find(request, "z_target")) {
        if (loss->target == LOSS_TARGET_TAKEN)
            return 0;
        return fail("the frame has no tensor z_target, which the momentum encoder makes: give "
                    "encode and project the option --ema");
    }
    const struct tensor *target = frame_need(request, "z_target", DTYPE_F32, 3, z->shape);
    if (!target)
        return -1;
    in->target = target->data;
    return 0;
}

/* Checks a request and points *in to its contents. Returns -1 with a message. */
static int read_batch(const struct loss *loss, const struct frame *request, struct loss_input *in)
{
    const int64_t views = loss->labels ? -1 : 2;
    const struct tensor *z =
        frame_need(request, "z", DTYPE_F32, 3, (const int64_t[]){-1, views, -1});
    if (!z)
        return -1;
    const int64_t b = z->shape[0], v = z->shape[1], d = z->shape[2];
    if (b < 1 || v < 1 || d < 1 || b > INT32_MAX / v || d > INT32_MAX)
        return fail("z is [%lld,%lld,%lld]: nothing to compare", (long long)b, (long long)v,
                    (long long)d);
    if (b < 2 && loss->single)
        return fail("z is of a single image, which has no %s: train with a --batch of 2 or more, "
                    "and gather the images of all workers for the loss",
                    loss->single);
    *in = (struct loss_input){.z = z->data,
                              .n = b * v,
                              .d = d,
                              .views = v,
                              .normalize = !config.no_normalize,
                              .threads = (int)config.threads};
    if (!config.threads_given && !loss_has_optimizer()) /* a queue makes any batch a large one */
        in->threads = loss_threads(in->threads, in->n, in->d);
    if (read_target(loss, request, z, in))
        return -1;
    return loss->labels ? read_labels(request, b, in) : 0;
}

/* Fills the reply: dz, metadata and metrics. Returns -1 with a message. */
static int compute(const struct loss *loss, const struct frame *request,
                   const struct loss_input *in, struct frame *reply)
{
    struct loss_metrics metrics;
    struct spread spread;
    if (loss->compute(in, frame_find(reply, "dz")->data, &metrics))
        return -1;
    const char *step = frame_meta(request, "step");
    if (!isfinite((float)metrics.loss)) /* as it is sent */
        return fail("the loss is not finite in step %s", step ? step : "?");
    if (spread_measure(in->z, in->n, in->d, in->views, &spread))
        return -1;
    frame_inherit_metas(reply, request);
    frame_set_meta_float(reply, "loss", (float)metrics.loss);
    if (!isnan(metrics.accuracy))
        frame_set_meta_float(reply, "contrast_acc", (float)metrics.accuracy);
    if (!isnan(metrics.entropy))
        frame_set_meta_float(reply, "contrast_entropy", (float)metrics.entropy);
    frame_set_meta_float(reply, "z_std", (float)spread.z_std);
    if (!isnan(spread.alignment))
        frame_set_meta_float(reply, "alignment", (float)spread.alignment);
    return 0;
}

/* Returns the reply to a request, or NULL with a message. */
static struct frame *answer(const struct loss *loss, const struct frame *request,
                            const struct loss_input *in)
{
    const int64_t images = in->n / in->views;
    struct frame *reply =
        frame_new(&(struct tensor_spec){"dz", DTYPE_F32, 3, {images, in->views, in->d}}, 1);
    if (reply && compute(loss, request, in, reply)) {
        frame_free(reply);
        return NULL;
    }
    return reply;
}

/* Answers one request of a client, and consumes it. The caller receives its gradient before the
 * state is sent, and goes on meanwhile. */
static int handle(const struct loss *loss, struct server *server, struct loss_state *state,
                  int client, struct frame *request)
{
    struct loss_input in;
    struct frame *reply = NULL;
    int bad = read_batch(loss, request, &in);
    if (bad)
        bad = server_refuse(server, client, false);
    else if ((state && loss_state_begin(state, loss, &in, request)) ||
             !(reply = answer(loss, request, &in)))
        bad = -1;
    if (!state) { /* before the reply, which may take the place of the request in shared memory */
        frame_free(request);
        request = NULL;
    }
    if (reply)
        bad = server_reply(server, client, reply) || (state && loss_state_send(state, request)) ? -1
                                                                                                : 0;
    frame_free(request);
    return bad;
}

static int serve(const struct loss *loss, struct server *server, struct loss_state *state)
{
    struct frame *request;
    int client;
    enum server_result got;
    while ((got = server_next(server, &request, &client, NULL)) == SERVER_REQUEST) {
        if (handle(loss, server, state, client, request))
            return -1;
    }
    return got == SERVER_ENDED ? 0 : -1;
}

int loss_run(const struct loss *loss)
{
    struct loss_state *state = NULL;
    struct server *server = server_open(&server_options);
    if (!server)
        return warn_failure();
    int bad = loss->open && !(state = loss_state_open(config.opt)) ? -1 : 0;
    bad = bad || serve(loss, server, state) ? -1 : 0;
    if (!bad && state) {
        bad = loss_state_end(state);
        state = NULL;
    }
    if (bad) {
        const int status = warn_failure(); /* first, so that the cause comes first in a log */
        server_abandon(server);
        loss_state_abandon(state);
        return status;
    }
    return server_end(server) ? warn_failure() : 0;
}
