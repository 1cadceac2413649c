#include "link/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/grow.h"
#include "base/stop.h"
#include "frame/frame_io.h"
#include "link/child.h"
#include "link/lender.h"
#include "link/meeting.h"
#include "link/shared_memory.h"
#include "link/socket.h"
#include "link/traffic.h"

struct queue {
    struct frame **frames;
    int64_t capacity;
    int n;
};

struct link {
    char *name;
    double timeout;
    bool crc, ended;
    bool required;                /* at shm://: it is an error if there is no shared memory */
    size_t most;                  /* bytes of shared memory */
    int64_t next_seq, next_reply; /* requests sent, replies taken */
    struct socket *socket;        /* or the five members below */
    pid_t child;
    int to, from;    /* non-blocking pipes, -1 when closed */
    double deadline; /* in pump(): when the peer must have moved a byte again */
    struct frame_reader *reader;
    struct queue requests;      /* not yet written, or the first one only in part */
    const unsigned char *bytes; /* the first request as it is sent; NULL until it is sealed */
    size_t size, written;
    bool shares;           /* only the header of the first request is sent */
    struct queue replies;  /* read from the pipe, not yet returned */
    struct lender *lender; /* memory that the peer may share, or NULL */
    int64_t sent;          /* bytes of frames written to the pipe, or to shared memory */
    struct traffic shared; /* what of it went through shared memory */
    bool met;              /* on a socket: has tried to hand over shared memory */
    struct envelope token; /* on a socket: names this link's memory to the server */
    double waited;         /* seconds spent waiting for replies */
};

const char *link_name(const struct link *l)
{
    return l->name;
}

static int push(struct queue *q, struct frame *f)
{
    struct frame **frames = grow(q->frames, q->n, &q->capacity, sizeof *frames);
    if (!frames) {
        frame_free(f);
        return fail_memory(NULL);
    }
    q->frames = frames;
    frames[q->n++] = f;
    return 0;
}

static struct frame *pop(struct queue *q)
{
    struct frame *f = q->frames[0];
    memmove(q->frames, q->frames + 1, (size_t)--q->n * sizeof *q->frames);
    return f;
}

static void empty(struct queue *q)
{
    while (q->n)
        frame_free(pop(q));
    free(q->frames);
    *q = (struct queue){0};
}

/* Starts the coprocess and offers it shared memory. */
static int start_child(struct link *l, const char *command, const struct link_config *config)
{
    int channel = -1;
    if (!shared_memory_wanted(config))
        return child_start(command, &l->child, &l->to, &l->from);
    if (child_start_sharing(command, &l->child, &l->to, &l->from, &channel))
        return -1;
    if (channel < 0)
        return 0;
    return (l->lender = lender_new(channel, (size_t)config->max_frame, false)) ? 0 : -1;
}

struct link *link_open(const char *endpoint, const struct link_config *config)
{
    struct link *l = calloc(1, sizeof *l);
    if (!l || !(l->name = strdup(endpoint))) {
        free(l);
        fail_memory(endpoint);
        return NULL;
    }
    l->timeout = config->timeout;
    l->crc = config->crc;
    l->most = (size_t)config->max_frame;
    l->met = !shared_memory_wanted(config);
    l->required = endpoint_name(endpoint) && !l->met;
    l->to = l->from = -1;
    switch (endpoint_kind(endpoint)) {
    case ENDPOINT_SOCKET:
        l->socket = socket_open(SOCKET_DEALER, endpoint, config);
        if (l->socket)
            return l;
        break;
    case ENDPOINT_EXEC:
        if (start_child(l, endpoint + 5, config))
            break;
        fcntl(l->to, F_SETFL, O_NONBLOCK); /* only these ends; the child's stay blocking */
        fcntl(l->from, F_SETFL, O_NONBLOCK);
        if (!(l->reader = frame_reader_new((size_t)config->max_frame, endpoint)))
            break;
        if (l->lender) {
            const struct frame_finder finder = lender_finder(l->lender);
            frame_reader_share(l->reader, &finder);
        }
        return l;
    default:
        fail("%s: a link is exec:CMD, tcp://host:port, ipc://path or shm://name", endpoint);
    }
    link_close(l);
    return NULL;
}

/* ---- pipes ---- */

/* Finds out why the coprocess closed its stdout. Leaves a message and returns -1. */
static int peer_died(struct link *l)
{
    if (child_wait(&l->child, 2) && !l->child)
        return fail_prefix("%s", l->name);
    return fail("%s: %s before it had answered", l->name, l->child ? "closed its output" : "ended");
}

/* Prepares the first request for sending. The data of one in shared memory stays there. */
static int seal(struct link *l, struct frame *f)
{
    l->shares = l->lender && lender_has(l->lender, f);
    return l->shares ? frame_seal_header(f, l->crc, &l->bytes, &l->size)
                     : frame_seal(f, l->crc, &l->bytes, &l->size);
}

static int write_some(struct link *l)
{
    while (l->requests.n && l->to >= 0) {
        struct frame *f = l->requests.frames[0];
        if (!l->bytes && seal(l, f))
            return -1;
        ssize_t n = write(l->to, l->bytes + l->written, l->size - l->written);
        if (n < 0) {
            if (errno == EPIPE) { /* it died; an error frame may still be in the other pipe */
                close(l->to);
                l->to = -1;
                return 0;
            }
            if (errno == EINTR)
                return stop_check();
            return errno == EAGAIN ? 0 : fail("%s: %s", l->name, strerror(errno));
        }
        l->written += (size_t)n;
        l->sent += n;
        if (l->written < l->size)
            continue;
        if (l->shares) {
            l->sent += (int64_t)f->data_size;
            l->shared.out += (int64_t)f->data_size;
            l->shared.n++;
        }
        l->written = 0;
        l->bytes = NULL;
        frame_free(pop(&l->requests));
    }
    return 0;
}

/* Reads what has arrived. Returns -1 with a message on failure, or if the peer is gone. */
static int read_some(struct link *l)
{
    struct frame *f;
    switch (frame_reader_step(l->reader, l->from, &f)) {
    case FRAME_READER_FRAME:
        if (l->lender)
            lender_settle(l->lender);
        return push(&l->replies, f);
    case FRAME_READER_MORE:
        return 0;
    case FRAME_READER_EOF:
        return peer_died(l);
    default:
        return -1;
    }
}

/* Returns true if the peer has sent an error frame, whose text says more than the peer's exit
 * status. */
static bool has_failed(const struct link *l)
{
    return l->replies.n && frame_meta(l->replies.frames[l->replies.n - 1], "error");
}

/* Moves bytes in both directions on n links over pipes at once, since a peer that is blocked while
 * it writes replies does not read requests. With wait, continues until each link has a reply, and
 * fails if a link without a reply moves no byte for its timeout. Without wait, moves what can be
 * moved at once. */
static int pump(struct link *const *links, int n, bool wait)
{
    struct pollfd items[2 * LINKS_AT_ONCE];
    for (int i = 0; i < n; i++)
        links[i]->deadline = clock_now() + links[i]->timeout;
    for (;;) {
        const struct link *late = NULL; /* the link whose deadline is first */
        for (int i = 0; i < n; i++) {
            const struct link *l = links[i];
            const bool answered = wait && l->replies.n;
            if (wait && !answered && (!late || l->deadline < late->deadline))
                late = l;
            items[2 * i] = (struct pollfd){answered || has_failed(l) ? -1 : l->from, POLLIN, 0};
            items[2 * i + 1] = (struct pollfd){l->requests.n ? l->to : -1, POLLOUT, 0};
        }
        if (wait && !late)
            return 0;
        double rest = wait ? late->deadline - clock_now() : 0;
        int ready = poll(items, 2 * (nfds_t)n, rest > 0 ? (int)(rest * 1000) + 1 : 0);
        if (ready < 0 && stop_check())
            return -1;
        if (ready == 0 && !wait)
            return 0;
        for (int i = 0; ready > 0 && i < n; i++) {
            if (!items[2 * i].revents && !items[2 * i + 1].revents)
                continue;
            if (items[2 * i].revents && read_some(links[i]))
                return -1;
            if (items[2 * i + 1].revents && write_some(links[i]))
                return -1;
            links[i]->deadline = clock_now() + links[i]->timeout;
        }
        if (late && clock_now() >= late->deadline)
            return fail("%s: no answer within %g s", late->name, late->timeout);
    }
}

/* ---- pipes and sockets ---- */

/* Connects to the server of a socket, once: when it has answered, and no request is in flight. */
static int connect_memory(struct link *l)
{
    if (!l->socket || l->met || l->next_reply == 0 || l->next_reply < l->next_seq)
        return 0;
    struct envelope_part *part = &l->token.parts[0];
    int channel;
    const enum meeting_result result = meeting_connect(l->name, &channel, part->bytes);
    l->met = result != MEETING_LATER;
    if (result == MEETING_FAILED)
        return -1;
    if (result != MEETING_CHANNEL)
        return 0;
    if (!(l->lender = lender_new(channel, l->most, true)))
        return -1;
    l->token.n = 1;
    part->size = MEETING_TOKEN;
    const struct frame_finder finder = lender_finder(l->lender);
    socket_share(l->socket, &finder);
    return 0;
}

/* Sets *memory to shared memory for the data of a request, or to NULL if it is sent whole. That there
 * is no memory is a failure only if it is required. */
static int take_memory(struct link *l, size_t size, struct frame_memory **memory)
{
    struct fail_note note;
    fail_save(&note);
    *memory = NULL;
    if (!connect_memory(l) && (!l->lender || !lender_take(l->lender, size, memory)))
        return 0;
    return l->required ? fail_prefix("%s", l->name) : (fail_restore(&note), 0);
}

struct frame *link_frame_new(struct link *l, const struct tensor_spec *specs, int n)
{
    size_t size = 0, bytes;
    struct frame_memory *memory;
    for (int i = 0; i < n; i++)
        if (tensor_bytes(specs[i].dtype, specs[i].ndim, specs[i].shape, &bytes) ||
            __builtin_add_overflow(size, bytes, &size))
            break; /* frame_new_in() says what is wrong */
    if (take_memory(l, size, &memory))
        return NULL;
    struct frame *f = frame_new_in(memory, specs, n);
    if (!f && memory)
        memory->release(memory);
    return f;
}

void link_trim(struct link *l)
{
    frame_trim_memory();
    if (l->lender)
        lender_trim(l->lender);
}

/* Puts a request into shared memory if the peer takes it, and lends it. */
static int lend(struct link *l, struct frame *f)
{
    struct frame_memory *memory = NULL;
    if (!(l->lender && lender_has(l->lender, f)) && take_memory(l, f->data_size, &memory))
        return -1;
    if (memory)
        frame_move(f, memory);
    return l->lender ? lender_lend(l->lender, f) : 0;
}

int link_send(struct link *l, struct frame *f)
{
    if (lend(l, f)) {
        frame_free(f);
        return -1;
    }
    frame_set_meta_int(f, "seq", l->next_seq++);
    if (l->socket && l->lender && lender_has(l->lender, f))
        return socket_send_header(l->socket, &l->token, f);
    if (l->socket)
        return socket_send(l->socket, NULL, f);
    if (push(&l->requests, f))
        return -1;
    return pump(&l, 1, false);
}

int link_advance(struct link *l)
{
    return l->socket ? 0 : pump(&l, 1, false); /* libzmq's thread moves the bytes of a socket */
}

/* Takes a reply that has arrived, or waits for it on a socket, and checks it. */
static int take_reply(struct link *l, struct frame **out)
{
    if (l->socket) {
        const enum socket_result got = socket_receive(l->socket, l->timeout, out, NULL);
        if (got == SOCKET_NOTHING)
            return fail("%s: no answer within %g s", l->name, l->timeout);
        if (got != SOCKET_FRAME)
            return -1;
        if (l->lender)
            lender_settle(l->lender);
    } else
        *out = pop(&l->replies);
    int64_t seq, expected = l->next_reply++;
    const char *error = frame_meta(*out, "error");
    int bad = 0;
    if (error)
        bad = fail("%s: %s", l->name, error);
    else if (frame_is_end(*out))
        bad = fail("%s: ended before it had answered", l->name);
    else if (frame_meta_int(*out, "seq", expected, &seq))
        bad = fail_prefix("%s", l->name);
    else if (seq != expected)
        bad = fail("%s: answered request %lld, where %lld was next", l->name, (long long)seq,
                   (long long)expected);
    if (bad)
        frame_free(*out);
    return bad;
}

int link_receive(struct link *l, struct frame **out)
{
    return link_receive_all(&l, 1, out);
}

int link_receive_all(struct link *const *links, int n, struct frame **out)
{
    const double since = clock_now();
    struct link *pipes[LINKS_AT_ONCE] = {NULL};
    int n_pipes = 0;
    for (int i = 0; i < n; i++)
        if (!links[i]->socket) /* libzmq's thread moves the bytes of a socket */
            pipes[n_pipes++] = links[i];
    if (pump(pipes, n_pipes, true))
        return -1;
    for (int i = 0; i < n; i++) {
        if (take_reply(links[i], &out[i])) {
            while (i > 0)
                frame_free(out[--i]);
            return -1;
        }
        links[i]->waited += clock_now() - since;
    }
    return 0;
}

int link_request(struct link *l, struct frame *f, struct frame **out)
{
    return link_send(l, f) || link_receive(l, out) ? -1 : 0;
}

int link_end(struct link *l)
{
    struct frame *end = frame_new_end();
    if (!end)
        return -1;
    l->ended = true;
    if (l->socket)
        return socket_send(l->socket, NULL, end);
    return push(&l->requests, end) || pump(&l, 1, false) ? -1 : 0;
}

/* Writes what is left, then reads until the coprocess closes its side. It receives the end
 * frame or an error frame. */
static int finish_child(struct link *l)
{
    double deadline = clock_now() + l->timeout;
    while (l->requests.n && l->to >= 0) {
        struct pollfd item = {l->to, POLLOUT, 0};
        if (poll(&item, 1, 100) < 0 && stop_check())
            return -1;
        if (write_some(l))
            return -1;
        if (clock_now() >= deadline)
            return fail("%s: did not take the end frame within %g s", l->name, l->timeout);
    }
    if (l->to >= 0)
        close(l->to);
    l->to = -1;
    for (;;) {
        struct pollfd item = {l->from, POLLIN, 0};
        if (poll(&item, 1, 100) < 0 && stop_check())
            return -1;
        struct frame *f = NULL;
        enum frame_reader_state state =
            item.revents ? frame_reader_step(l->reader, l->from, &f) : FRAME_READER_MORE;
        if (state == FRAME_READER_FAILED)
            return -1;
        if (state == FRAME_READER_EOF)
            break;
        if (state == FRAME_READER_FRAME) {
            const char *error = frame_meta(f, "error");
            int bad = error              ? fail("%s: %s", l->name, error)
                      : !frame_is_end(f) ? fail("%s: sent a reply that nobody asked for", l->name)
                                         : 0;
            frame_free(f);
            if (bad)
                return bad;
        }
        if (clock_now() >= deadline)
            return fail("%s: did not end within %g s", l->name, l->timeout);
    }
    return child_wait(&l->child, l->timeout) ? fail_prefix("%s", l->name) : 0;
}

int link_close(struct link *l)
{
    if (!l)
        return 0;
    int bad = 0;
    struct traffic edge = {.what = "requests", .n = l->next_seq, .waited = l->waited};
    if (l->socket) {
        socket_traffic(l->socket, &edge.out, &edge.in, &l->shared);
        bad = socket_close(l->socket, l->ended ? l->timeout : 0);
    } else if (l->child && l->ended) {
        bad = finish_child(l);
        edge.out = l->sent;
        edge.in = frame_reader_taken(l->reader);
        l->shared.in = frame_reader_found(l->reader);
    }
    if (l->ended && !bad)
        traffic_report(l->name, &edge, &l->shared);
    if (l->to >= 0)
        close(l->to);
    if (l->from >= 0)
        close(l->from);
    if (l->child) { /* a filter exits when its input breaks off */
        struct fail_note note;
        fail_save(&note);
        if (child_wait(&l->child, 1))
            child_stop(&l->child);
        fail_restore(&note);
    }
    empty(&l->requests);
    empty(&l->replies);
    frame_reader_free(l->reader);
    lender_free(l->lender);
    free(l->name);
    free(l);
    return bad;
}
