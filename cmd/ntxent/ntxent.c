/* ntxent: the contrastive loss. Projections in, their gradient out. */
#include "ntxent.h"

#include <math.h>
#include <omp.h>

#include "fail.h"
#include "link.h"

static double temperature = 0.5;
static int64_t threads;

static const struct option_spec options[] = {
    {.name = "temperature",
     .kind = OPTION_DOUBLE,
     .value = &temperature,
     .argument = "T",
     .min = 1e-3,
     .max = 1e3,
     .help = "similarities are divided by it"},
    {.name = "threads",
     .kind = OPTION_INT,
     .value = &threads,
     .argument = "N",
     .min = 1,
     .max = 1024,
     .help = "the result does not depend on it"},
    {0},
};

static const char details[] =
    "In:  `z` F32 [B,2,d]: two views of each of B images. All 2B rows are each\n"
    "     other's candidates, so a frame must hold the whole global batch.\n"
    "Out: `dz` F32 [B,2,d], and metadata `loss`, `contrast_acc`, `contrast_entropy`.\n"
    "\n"
    "Example: augment --data shapes --batch 64 --steps 1 | encode | project | ntxent | inspect";

/* NULL with a message. */
static struct frame *answer(const struct frame *request)
{
    const struct tensor *z = frame_need(request, "z", DTYPE_F32, 3, (int64_t[]){-1, 2, -1});
    if (!z)
        return NULL;
    int64_t b = z->shape[0], d = z->shape[2];
    if (b < 1 || d < 1 || b > INT32_MAX / 2 || d > INT32_MAX) {
        fail("z is [%lld,2,%lld]: nothing to compare", (long long)b, (long long)d);
        return NULL;
    }
    struct frame *reply = frame_new(&(struct tensor_spec){"dz", DTYPE_F32, 3, {b, 2, d}}, 1);
    struct ntxent_metrics metrics;
    if (!reply || ntxent(z->data, 2 * b, d, temperature, (int)threads,
                         frame_find(reply, "dz")->data, &metrics)) {
        frame_free(reply);
        return NULL;
    }
    const char *step = frame_meta(request, "step");
    if (!isfinite(metrics.loss)) {
        fail("the loss is not finite in step %s", step ? step : "?");
        frame_free(reply);
        return NULL;
    }
    frame_inherit_metas(reply, request);
    frame_set_meta_float(reply, "loss", (float)metrics.loss);
    frame_set_meta_float(reply, "contrast_acc", (float)metrics.accuracy);
    frame_set_meta_float(reply, "contrast_entropy", (float)metrics.entropy);
    return reply;
}

int main(int argc, char **argv)
{
    threads = omp_get_max_threads();
    const struct program program = {"ntxent",
                                    "the normalized temperature-scaled cross-entropy loss",
                                    details,
                                    {options, server_option_specs, link_option_specs}};
    options_parse(&program, argc, argv, NULL);
    signals_setup();

    struct server *server = server_open();
    if (!server)
        return program_fail();
    struct frame *request;
    int client, got;
    while ((got = server_next(server, &request, &client, NULL)) > 0) {
        struct frame *reply = answer(request);
        frame_free(request);
        if (!reply || server_reply(server, client, reply)) {
            got = -1;
            break;
        }
    }
    if (got < 0) {
        const int status = program_fail(); /* first, so that the culprit's line leads a log */
        server_abandon(server);
        return status;
    }
    return server_end(server) ? program_fail() : 0;
}
