#include "program/stage.h"

#include <stdio.h>
#include <string.h>

#include "base/flush.h"
#include "base/warn.h"
#include "device/opencl_devices.h"
#include "link/server.h"
#include "program/checkpoint.h"
#include "program/link_options.h"
#include "program/stage_options.h"
#include "program/stage_parts.h"
#include "weights/weights.h"

bool stage_trains(const struct stage *stage)
{
    return stage->loss ? *stage_options.opt != 0 : *stage_options.next != 0;
}

static struct frame *infer(struct stage_run *run, const struct frame *request)
{
    struct stage_sizes s;
    const struct tensor *input = stage_input_find(run, request, &s);
    if (!input || (!run->net && !run->stage->identity && stage_forward_start(run, request, input)))
        return NULL;
    return stage_forward(run, request, input, &s, 0);
}

/* Reads the file of --init or --like, and lets the stage take from it what the flags leave open. */
static int read_weights(struct stage_run *run, struct stage *stage)
{
    const char *init = stage_options.init, *path = *init ? init : stage_options.like;
    if (!*path)
        return 0;
    if (!(run->weights = weights_load(path)) || stage->configure(stage, run->weights))
        return -1;
    if (stage->identity && *init && checkpoint_lacks(stage->part, run->weights, path, stage->flags))
        return -1;
    if (*init && !stage->identity)
        return 0;
    frame_free(run->weights);
    run->weights = NULL;
    frame_trim_memory();
    return 0;
}

static int open_engine(struct stage_run *run)
{
    return run->stage->identity || (run->engine = stage_engine()) ? 0 : -1;
}

static int open_links(struct stage_run *run)
{
    if (*stage_options.next && !(run->next = link_open(stage_options.next, &link_options)))
        return -1;
    if (stage_trains(run->stage) && *stage_options.opt &&
        !(run->opt = link_open(stage_options.opt, &link_options)))
        return -1;
    if (*stage_options.sync && !(run->sync = link_open(stage_options.sync, &link_options)))
        return -1;
    return 0;
}

static int serve(struct stage_run *run, struct server *server)
{
    struct frame *request;
    int client;
    enum server_result got;
    while ((got = server_next(server, &request, &client, NULL)) == SERVER_REQUEST) {
        struct stage_sizes s;
        if (!stage_input_find(run, request, &s) && !server_refuse(server, client, false)) {
            frame_free(request);
            continue;
        }
        struct frame *reply =
            stage_trains(run->stage) ? stage_training_step(run, request) : infer(run, request);
        frame_free(request);
        const char *lr;
        if (!reply || server_reply(server, client, reply) || stage_training_update(run, &lr))
            return -1;
    }
    return got == SERVER_ENDED ? 0 : -1;
}

/* Sends the end frame to every peer before it waits for any of them. */
static int end_links(struct stage_run *run)
{
    int status = 0;
    struct link *const links[] = {run->next, run->opt, run->sync};
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        if (links[i] && link_end(links[i]))
            status = -1;
    return status;
}

static int close_links(struct stage_run *run)
{
    optimizer_client_free(run->client);
    frame_free(run->weights);
    frame_free(run->description);
    int status = link_close(run->next);
    if (link_close(run->opt))
        status = -1;
    if (link_close(run->sync))
        status = -1;
    engine_free(run->engine);
    network_free(run->net);
    network_free(run->slow);
    return status;
}

/* Checks --device, and what the devices do not have. */
static void check_device(void)
{
    const char *device = stage_options.device;
    if (!strcmp(device, "cpu"))
        return;
    if (!opencl_names_device(device))
        options_reject("--device: '%s' is not cpu, list, " OPENCL_DEVICE_FORM, device);
    if (strcmp(stage_options.precision, "fp32"))
        options_reject("--device %s computes in fp32, not in %s", device, stage_options.precision);
    if (strcmp(stage_options.kernel, "auto"))
        options_reject("--kernel %s is for --device cpu", stage_options.kernel);
}

static int list_devices(void)
{
    printf("cpu         this machine's processor\n");
    opencl_print_devices(stdout);
    return flush_stdout() == FLUSH_FAILED ? warn_failure() : 0;
}

int stage_run(struct stage *stage)
{
    if (!strcmp(stage_options.device, "list"))
        return list_devices();
    check_device();
    struct stage_run run = {.stage = stage};
    snprintf(run.dinput, sizeof run.dinput, "d%s", stage->input);
    snprintf(run.doutput, sizeof run.doutput, "d%s", stage->output);
    snprintf(run.input_target, sizeof run.input_target, "%s_target", stage->input);
    snprintf(run.output_target, sizeof run.output_target, "%s_target", stage->output);
    if (*stage_options.next && !*stage_options.opt && !stage->identity)
        options_reject("--next needs --opt: who else would own the parameters?");
    if (*stage_options.opt && !stage_trains(stage))
        options_reject("--opt needs --next: without it nothing is trained");
    if (*stage_options.sync && !*stage_options.next)
        options_reject("--sync needs --next: it is for training");
    if (stage_has_target() && !*stage_options.next)
        options_reject("--ema needs --next: the slow copy follows a network that trains");
    if (stage_options.ema >= 1)
        options_reject("--ema: a slow copy with a momentum of 1 never moves; it must be below 1");
    if (*stage_options.init && *stage_options.like)
        options_reject("--init and --like exclude each other: both say what the network is");
    struct server *server = server_open(&server_options);
    if (!server)
        return warn_failure();
    if (read_weights(&run, stage) || open_engine(&run) || open_links(&run) || serve(&run, server) ||
        end_links(&run)) {
        const int status = warn_failure(); /* first, so that the cause comes first in a log */
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
