#include "link/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/grow.h"
#include "base/warn.h"
#include "link/borrower.h"
#include "link/shared_memory.h"
#include "link/socket.h"
#include "link/stream.h"
#include "link/traffic.h"

/* Seconds that a client may wait for the answer to its end frame before it closes its side, and
 * that it may take to read an error frame. */
enum { END_PATIENCE = 2 };

/* A request that the caller has received but not answered yet. */
struct pending {
    struct envelope *envelope;
    char *seq;     /* NULL if the request had none */
    int64_t place; /* number of the shared memory that it came in, or -1 */
};

struct client {
    struct envelope *envelope; /* its last one; NULL after an orderly departure */
    bool spoke;                /* it sent a request */
    bool settled;              /* more than its join was answered */
    bool ended, refused;
    struct pending *pending;
    int64_t capacity;
    int n_pending;
};

/* The state of a server. Over stdin and stdout there is one client, number 0. */
struct server {
    double timeout;
    char *listen;
    struct socket *socket; /* or a source and a sink: */
    bool guarded;          /* only peers of this run can speak: there is a run ID or a key */
    struct source *source;
    struct sink *sink;
    struct borrower *borrower; /* shared memory of stdin's client, or NULL */
    struct client *clients;
    int64_t client_capacity;
    int n_clients, expected;
    bool leavers;         /* clients that have only joined may leave */
    double waiting_since; /* when the latest client came and the wait for the next began */
    int64_t served;       /* number of requests over the socket */
    double waited;        /* seconds spent waiting for them */
};

static void drop_pending(struct pending *p)
{
    free(p->envelope);
    free(p->seq);
}

/* Frees the state of a client that will send nothing more. Only its number stays in use. */
static void forget(struct client *c)
{
    while (c->n_pending)
        drop_pending(&c->pending[--c->n_pending]);
    free(c->pending);
    free(c->envelope);
    c->pending = NULL;
    c->envelope = NULL;
    c->capacity = 0;
}

static void free_server(struct server *s)
{
    for (int i = 0; i < s->n_clients; i++)
        forget(&s->clients[i]);
    free(s->clients);
    borrower_free(s->borrower);
    free(s->listen);
    free(s);
}

/* Adds a client and returns its number, or -1 with a message if memory is out. */
static int add_client(struct server *s)
{
    struct client *clients = grow(s->clients, s->n_clients, &s->client_capacity, sizeof *clients);
    if (!clients)
        return fail_memory(NULL);
    s->clients = clients;
    clients[s->n_clients] = (struct client){0};
    return s->n_clients++;
}

/* Takes the shared memory that the client offers, if requests and replies go through the pipes that
 * the offer is for. */
static void share(struct server *s, const struct server_config *config)
{
    if (!shared_memory_wanted(config->link) || strcmp(config->in, "-") != 0 ||
        strcmp(config->out, "-") != 0 ||
        !(s->borrower = borrower_open((size_t)config->link->max_frame)))
        return;
    const struct frame_finder finder = borrower_finder(s->borrower);
    source_share(s->source, &finder);
}

struct server *server_open(const struct server_config *config)
{
    const struct link_config *link = config->link;
    struct server *s = calloc(1, sizeof *s);
    if (!s || !(s->listen = strdup(config->listen))) {
        free(s);
        fail_memory(NULL);
        return NULL;
    }
    s->timeout = link->timeout;
    s->waiting_since = clock_now();
    if (*s->listen) {
        if (endpoint_kind(s->listen) != ENDPOINT_SOCKET)
            fail("--listen %s: only tcp://addr:port, ipc://path and shm://name can be listened on",
                 s->listen);
        else if ((s->socket = socket_open(SOCKET_ROUTER, s->listen, link))) {
            s->guarded = socket_is_guarded(s->socket);
            return s;
        }
    } else if ((s->source = source_open(config->in, link))) {
        source_set_patience(s->source, END_PATIENCE);
        if (add_client(s) == 0 && (s->sink = sink_open(config->out, link))) {
            share(s, config);
            return s;
        }
        source_close(s->source);
    }
    free_server(s);
    return NULL;
}

/* ---- requests ---- */

static bool same_peer(const struct envelope *a, const struct envelope *b)
{
    return a->n > 0 && b->n > 0 && a->parts[0].size == b->parts[0].size &&
           !memcmp(a->parts[0].bytes, b->parts[0].bytes, a->parts[0].size);
}

static int client_of(struct server *s, const struct envelope *from)
{
    int i = 0;
    while (i < s->n_clients && !(s->clients[i].envelope && same_peer(s->clients[i].envelope, from)))
        i++;
    if (i == s->n_clients) {
        s->waiting_since = clock_now();
        if (add_client(s) < 0)
            return -1;
        if (!(s->clients[i].envelope = malloc(sizeof *from)))
            return fail_memory(NULL);
    }
    *s->clients[i].envelope = *from;
    return i;
}

/* Returns the memory that the server shares with the sender of a message, or NULL. */
static struct borrower *borrower_of(const struct server *s, const struct envelope *from)
{
    return s->socket && from ? socket_borrower(s->socket, from) : s->borrower;
}

static int remember(const struct server *s, struct client *c, const struct frame *f)
{
    struct pending *pending = grow(c->pending, c->n_pending, &c->capacity, sizeof *pending);
    if (!pending)
        return fail_memory(NULL);
    c->pending = pending;
    const char *seq = frame_meta(f, "seq");
    struct borrower *borrower = borrower_of(s, c->envelope);
    struct pending p = {c->envelope ? malloc(sizeof *p.envelope) : NULL, seq ? strdup(seq) : NULL,
                        borrower ? borrower_latest(borrower) : -1};
    if ((c->envelope && !p.envelope) || (seq && !p.seq)) {
        drop_pending(&p);
        return fail_memory(NULL);
    }
    if (c->envelope)
        *p.envelope = *c->envelope;
    pending[c->n_pending++] = p;
    return 0;
}

int server_expect(struct server *s, int clients)
{
    if (clients > 1 && !s->socket)
        return fail("%d clients can't share stdin: use --listen", clients);
    s->expected = clients;
    return 0;
}

/* Returns true if a peer counts as a client: it has sent a request, or, with a run ID or key, an
 * end frame. Without these an end frame is not enough, since anybody can send it. */
static bool is_client(const struct server *s, const struct client *c)
{
    return !c->refused && (c->spoke || (s->guarded && c->ended));
}

static int count_clients(const struct server *s, bool running)
{
    int n = 0;
    for (int i = 0; i < s->n_clients; i++)
        n += is_client(s, &s->clients[i]) && !(running && s->clients[i].ended);
    return n;
}

/* Counts the clients that have sent an end frame and nothing else. */
static int count_silent(const struct server *s)
{
    int n = 0;
    for (int i = 0; i < s->n_clients; i++)
        n += s->clients[i].ended && !s->clients[i].spoke && !s->clients[i].refused;
    return n;
}

/* Looks for a client that has left. Returns SERVER_NOTHING if there is none. Otherwise sets the
 * message and returns SERVER_CLIENT_LEFT, with its number in *left, if the client might belong to
 * another run and the caller allowed it to leave, else SERVER_FAILED. */
static enum server_result check_gone(struct server *s, int *left)
{
    for (int i = 0; i < s->n_clients; i++) {
        struct client *c = &s->clients[i];
        if (!c->envelope || !socket_gone(s->socket, c->envelope->connection))
            continue;
        if (c->refused || (c->ended && !c->n_pending))
            forget(c);
        if (c->refused || c->ended)
            continue;
        fail("%s: client %d went away without an end frame", s->listen, i);
        if (s->guarded || c->settled || !s->leavers)
            return SERVER_FAILED;
        c->refused = true;
        forget(c);
        *left = i;
        return SERVER_CLIENT_LEFT;
    }
    return SERVER_NOTHING;
}

/* Ends the wait for clients when the timeout is over. Returns SERVER_NOTHING while it is not over,
 * SERVER_ENDED if enough clients came and all sent only an end frame, and SERVER_FAILED with a
 * message otherwise. */
static enum server_result check_patience(const struct server *s, int present)
{
    if (clock_now() - s->waiting_since < s->timeout)
        return SERVER_NOTHING;
    if (present == 0 && count_silent(s) >= (s->expected ? s->expected : 1))
        return SERVER_ENDED;
    if (present == 0)
        fail("%s: no client came within %g s", s->listen, s->timeout);
    else
        fail("%s: %d of %d clients came within %g s", s->listen, present, s->expected, s->timeout);
    return SERVER_FAILED;
}

/* Handles a message that cannot be a request. Refuses its sender if it is not a client and returns
 * 0; returns -1 with a message if it is a client. */
static int refuse_message(struct server *s, const struct envelope *from)
{
    for (int i = 0; i < s->n_clients; i++)
        if (is_client(s, &s->clients[i]) && s->clients[i].envelope &&
            same_peer(s->clients[i].envelope, from))
            return fail("%s: client %d sent %s", s->listen, i, fail_message());
    socket_tell_refusal(s->socket, fail_message());
    return 0;
}

/* Receives from the socket. Waits until the timeout for the first client and for those that are
 * expected. When all have come, the wait ends with a request, with the death of a client, or after
 * `seconds`. */
static enum server_result next_from_socket(struct server *s, double seconds, struct frame **out,
                                           int *client)
{
    for (;;) {
        const int present = count_clients(s, false);
        const bool complete = present > 0 && present >= s->expected;
        if (complete && !count_clients(s, true))
            return SERVER_ENDED;
        struct envelope from;
        const double since = clock_now();
        const double rest = s->waiting_since + s->timeout - since;
        double most = complete ? seconds : rest > 0 ? rest : 0;
        if (seconds >= 0 && most > seconds)
            most = seconds;
        const enum socket_result got = socket_receive(s->socket, most, out, &from);
        s->waited += clock_now() - since;
        if (got == SOCKET_FAILED || (got == SOCKET_REFUSED && refuse_message(s, &from)))
            return SERVER_FAILED;
        if (got == SOCKET_FRAME) {
            *client = client_of(s, &from);
            if (*client >= 0 && !s->clients[*client].refused)
                return SERVER_REQUEST;
            frame_free(*out);
            if (*client < 0)
                return SERVER_FAILED;
        }
        if (got != SOCKET_NOTHING)
            continue;
        enum server_result result = check_gone(s, client);
        if (result == SERVER_NOTHING && !complete)
            result = check_patience(s, present);
        if (result != SERVER_NOTHING)
            return result;
        if (seconds >= 0 && clock_now() - since >= seconds)
            return SERVER_NOTHING;
    }
}

bool server_listens(const struct server *s)
{
    return s->socket != NULL;
}

void server_allow_leaving(struct server *s)
{
    s->leavers = true;
}

enum server_result server_next(struct server *s, struct frame **out, int *client, bool *ends)
{
    return server_next_within(s, -1, out, client, ends);
}

static enum server_result next_from_source(struct server *s, struct frame **out)
{
    switch (source_next(s->source, out)) {
    case SOURCE_FRAME:
        return SERVER_REQUEST;
    case SOURCE_END:
        return SERVER_ENDED;
    default:
        return SERVER_FAILED;
    }
}

enum server_result server_next_within(struct server *s, double seconds, struct frame **out,
                                      int *client, bool *ends)
{
    if (ends)
        *ends = false;
    for (;;) {
        int number = 0;
        const enum server_result got =
            s->socket ? next_from_socket(s, seconds, out, &number) : next_from_source(s, out);
        if (client)
            *client = number;
        if (got != SERVER_REQUEST && got != SERVER_ENDED)
            return got;
        struct client *c = &s->clients[number];
        if (got == SERVER_ENDED) {
            if (s->socket || c->ended || !ends)
                return SERVER_ENDED;
            c->ended = *ends = true;
            *out = NULL;
            return SERVER_REQUEST;
        }
        const char *error = frame_meta(*out, "error");
        if (error && s->socket && !c->spoke) { /* a link never sends an error frame first */
            c->refused = true;
            socket_tell_refusal(s->socket, "an error frame is no request");
            frame_free(*out);
            continue;
        }
        if (error) {
            fail("%s: %s", *s->listen ? s->listen : "stdin", error);
            frame_free(*out);
            return SERVER_FAILED;
        }
        if (!frame_is_end(*out)) {
            c->spoke = true;
            s->served++;
            c->ended = false; /* two runs one after the other: the client goes on after an end */
            if (remember(s, c, *out)) {
                frame_free(*out);
                return SERVER_FAILED;
            }
            return SERVER_REQUEST;
        }
        frame_free(*out);
        c->ended = true;
        if (ends) {
            *out = NULL;
            *ends = true;
            return SERVER_REQUEST;
        }
    }
}

/* ---- replies ---- */

int server_reply(struct server *s, int client, struct frame *f)
{
    struct client *c = &s->clients[client];
    if (c->n_pending == 0) {
        frame_free(f);
        return fail("a reply to client %d, which asked nothing", client);
    }
    struct pending p = c->pending[0];
    memmove(c->pending, c->pending + 1, (size_t)--c->n_pending * sizeof *c->pending);
    if (p.seq)
        frame_set_meta(f, "seq", p.seq);
    else
        frame_drop_meta(f, "seq");
    const char *kind = frame_meta(f, "kind");
    c->settled = c->settled || !kind || strcmp(kind, "join");
    struct borrower *borrower = borrower_of(s, p.envelope);
    const bool shared = borrower && borrower_put(borrower, p.place, f);
    int bad;
    if (s->socket)
        bad = (shared ? socket_send_header : socket_send)(s->socket, p.envelope, f);
    else
        bad = (shared ? sink_write_header : sink_write)(s->sink, f);
    drop_pending(&p);
    return bad;
}

/* Makes an error frame that holds this program's name and fail_message(), which it leaves as it
 * was. Returns NULL with a message. */
static struct frame *new_error(void)
{
    char text[2 * FAIL_MAX];
    snprintf(text, sizeof text, "%s: %s", warn_name(), fail_message());
    return frame_new_error(text);
}

int server_refuse(struct server *s, int client, bool stays)
{
    struct client *c = &s->clients[client];
    if (!s->socket || (!stays && c->settled) ||
        (count_clients(s, false) < 2 && (s->guarded || stays)))
        return -1;
    socket_tell_refusal(s->socket, fail_message());
    struct frame *error = new_error();
    if (!error)
        return -1;
    if (c->n_pending) { /* the latest request, which need not be the next one to answer */
        struct pending *p = &c->pending[--c->n_pending];
        if (p->seq)
            frame_set_meta(error, "seq", p->seq);
        drop_pending(p);
    }
    if (!c->envelope || socket_gone(s->socket, c->envelope->connection))
        frame_free(error);
    else
        socket_send(s->socket, c->envelope, error); /* fails if the client is gone, which is fine */
    if (!stays) {
        while (c->n_pending)
            drop_pending(&c->pending[--c->n_pending]);
        c->refused = true;
    }
    return 0;
}

int server_end(struct server *s)
{
    int bad = 0;
    if (s->socket) {
        struct traffic edge = {.what = "served", .n = s->served, .waited = s->waited}, shared;
        socket_traffic(s->socket, &edge.out, &edge.in, &shared);
        bad = socket_close(s->socket, s->timeout);
        if (!bad)
            traffic_report(s->listen, &edge, &shared);
    } else {
        source_close(s->source);
        bad = sink_end(s->sink);
    }
    free_server(s);
    return bad;
}

void server_abandon(struct server *s)
{
    if (!s)
        return;
    struct fail_note note;
    fail_save(&note);
    for (int i = 0; i < s->n_clients; i++) {
        if (s->clients[i].ended || s->clients[i].refused)
            continue;
        fail_restore(&note);
        struct frame *error = new_error();
        if (!error)
            continue;
        if (!s->socket)
            sink_write(s->sink, error);
        else if (s->clients[i].envelope &&
                 !socket_gone(s->socket, s->clients[i].envelope->connection))
            socket_send(s->socket, s->clients[i].envelope, error);
        else
            frame_free(error);
    }
    if (s->socket)
        socket_close(s->socket, END_PATIENCE);
    else {
        sink_abandon(s->sink);
        source_close(s->source);
    }
    free_server(s);
    fail_restore(&note);
}
