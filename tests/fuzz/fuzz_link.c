/* Fuzzes the client's end of a link, over a coprocess or a socket that answers anything, and an
 * optimizer's client on it. The first part of the input decides what the client does. */
#include "link/link.h"

#include <assert.h>

#include "coprocess.h"
#include "link/endpoint.h"
#include "network/head.h"
#include "peers.h"
#include "program/optimizer_client.h"

static struct parameters *parameters;

/* Trains one step as a stage does. */
static int train(struct optimizer_client *c, const struct frame *request)
{
    const char *lr;
    if (optimizer_client_begin(c, request))
        return -1;
    for (int i = 0; i < parameters->n; i++)
        if (!parameters->list[i].buffer && optimizer_client_push(c, i))
            return -1;
    return optimizer_client_finish(c, &lr);
}

static int act(char what, struct link *l, struct optimizer_client *c)
{
    int64_t step;
    struct frame *f = frame_new_end(), *answer = NULL;
    assert(f);
    frame_set_meta(f, "end", "0");
    int bad = 0;
    switch (what) {
    case 's':
        bad = link_send(l, frame_copy(f));
        break;
    case 'r':
        bad = link_receive(l, &answer);
        break;
    case 'a':
        bad = link_advance(l);
        break;
    case 'e':
        bad = link_end(l);
        break;
    case 'j':
        bad = optimizer_client_join(c, f, f, &step);
        break;
    case 't':
        bad = train(c, f);
        break;
    default:
        bad = -1;
    }
    if (!bad && answer) {
        look_at_frame(answer);
        frame_free(answer);
    }
    frame_free(f);
    return bad;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct plan *plan;
    if (!plan) {
        plan = head_plan(1, 2, 0, 3);
        assert(plan);
        parameters = &plan->parameters;
    }
    struct input rest = {bytes, size}, acts;
    if (!input_part(&rest, &acts))
        return 0;
    const uint8_t how = input_byte(&acts);
    const struct link_config config = {.timeout = 1, .max_frame = INPUT_MAX_FRAME, .crc = how & 4};
    coprocess_says(rest, how / 2 % 2);
    peers_play(rest);
    struct link *l = link_open(how % 2 ? "tcp://127.0.0.1:1" : "exec:it", &config);
    struct optimizer_client *c =
        optimizer_client_new(l, parameters, how & 8 ? DTYPE_BF16 : DTYPE_F32);
    assert(l && c);
    while (acts.size && !act((char)input_byte(&acts), l, c))
        ;
    optimizer_client_free(c);
    link_close(l);
    return 0;
}
