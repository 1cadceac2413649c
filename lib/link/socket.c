#include "link/socket.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <zmq.h>
#ifdef __linux__
#include <linux/sockios.h>
#else
#define SIOCOUTQ TIOCOUTQ
#endif

#include "base/clock.h"
#include "base/fail.h"
#include "base/stop.h"
#include "base/warn.h"
#include "link/address.h"
#include "link/connections.h"
#include "link/keys.h"
#include "link/meeting.h"
#include "link/shared_memory.h"

enum { REFUSALS_TOLD = 10 };

struct socket {
    void *zmq, *monitor;
    enum socket_role role;
    char *endpoint, *address; /* the name, and what libzmq knows */
    double timeout, opened;
    int64_t max_frame;
    bool crc;
    int joined, left, reported; /* reported: departures that socket_receive() has returned */
    int failed_handshakes;      /* those whose disconnection has not been reported yet */
    bool refused;
    bool denied;      /* on a client: the server refuses its key, and libzmq gives up */
    int refusals;     /* number of refusals printed */
    bool keyed;       /* uses tcp with keys */
    char *run;        /* ID of the run whose frames are accepted; "" for any */
    const char *path; /* file of a listening ipc socket, within endpoint, or NULL */
    struct connections accepted;
    int connection; /* descriptor of a client's connection, -1 until there is one */
    bool closed;    /* on a client of shm://: the attempt to connect has failed */
    int same_user;  /* and of its connection (shared_memory_same_user()) */
    int64_t sent, taken;
    struct traffic shared;      /* what of it went through shared memory */
    struct meeting *meeting;    /* of a ROUTER whose clients may share memory, or NULL */
    struct frame_finder finder; /* of a DEALER that shares memory; else finder.find is NULL */
};

/* A process has one context, which is made for the first socket and ended after the last. */
static void *context;
static int n_sockets;

static const char *zmq_why(void)
{
    return zmq_strerror(zmq_errno());
}

static bool in_memory(const struct socket *s)
{
    return endpoint_name(s->endpoint);
}

/* ---- opening and closing ---- */

static bool listens(const struct socket *s)
{
    return s->role == SOCKET_ROUTER || s->role == SOCKET_PULL;
}

static void set_int(struct socket *s, int option, int value)
{
    zmq_setsockopt(s->zmq, option, &value, sizeof value);
}

/* Any process on the machine can connect to the abstract socket of shm://, and take its name when
 * nobody has it. So a server lets in its own user alone. A client connects once, and sends when it
 * has seen whose process it has reached (await_server()). */
static int set_user(struct socket *s)
{
    const uid_t user = geteuid();
    if (!listens(s))
        set_int(s, ZMQ_RECONNECT_IVL, -1);
    else if (zmq_setsockopt(s->zmq, ZMQ_IPC_FILTER_UID, &user, sizeof user))
        return fail("%s: this libzmq can't keep other users out: %s", s->endpoint, zmq_why());
    return 0;
}

static int set_options(struct socket *s, const struct link_config *config)
{
    int timeout = (int)(config->timeout * 1000 < 2e9 ? config->timeout * 1000 : 2e9);
    int interval = timeout / 3 < 5000 ? timeout / 3 + 1 : 5000;
    set_int(s, ZMQ_LINGER, 0);
    if (s->role == SOCKET_DEALER || s->role == SOCKET_ROUTER) {
        set_int(s, ZMQ_HEARTBEAT_IVL, interval);
        set_int(s, ZMQ_HEARTBEAT_TIMEOUT, timeout);
    } else { /* a blocked reader answers no heartbeats, only the system's probes */
        set_int(s, ZMQ_TCP_KEEPALIVE, 1);
        set_int(s, ZMQ_TCP_KEEPALIVE_IDLE, interval / 1000 + 1);
        set_int(s, ZMQ_TCP_KEEPALIVE_INTVL, interval / 1000 + 1);
        set_int(s, ZMQ_TCP_KEEPALIVE_CNT, 3);
    }
    set_int(s, ZMQ_RECONNECT_IVL, 50); /* milliseconds between tries until the server has started */
    /* IPv6 is set only for an address like tcp://[::1]:7000. Otherwise a name would be looked up as
     * IPv6 alone, and "localhost" would miss a server that listens on 127.0.0.1. */
    set_int(s, ZMQ_IPV6, strchr(s->endpoint, '[') != NULL);
    zmq_setsockopt(s->zmq, ZMQ_MAXMSGSIZE, &s->max_frame, sizeof s->max_frame);
    if (s->role == SOCKET_ROUTER)
        set_int(s, ZMQ_ROUTER_MANDATORY, 1);
    if (s->role == SOCKET_DEALER || s->role == SOCKET_ROUTER) {
        set_int(s, ZMQ_SNDHWM, 0); /* no limit: clients bound what is in flight; with limits, */
        set_int(s, ZMQ_RCVHWM, 0); /* both sides could wait for room at the other */
    } else {
        set_int(s, ZMQ_SNDHWM, 2); /* a stream waits for its reader instead of filling memory */
        set_int(s, ZMQ_RCVHWM, 2);
        set_int(s, ZMQ_IMMEDIATE, 1);
    }
    if (in_memory(s) && set_user(s))
        return -1;
    return keys_set(context, s->zmq, s->endpoint, listens(s), config);
}

static int open_monitor(struct socket *s)
{
    static unsigned opened; /* a new name each time: libzmq frees names late */
    char address[64];
    snprintf(address, sizeof address, "inproc://monitor-%u", opened++);
    int events = ZMQ_EVENT_CONNECTED | ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED |
                 ZMQ_EVENT_CLOSED | ZMQ_EVENT_ACCEPTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL |
                 ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
    if (zmq_socket_monitor(s->zmq, address, events) ||
        !(s->monitor = zmq_socket(context, ZMQ_PAIR)))
        return fail("%s: %s", s->endpoint, zmq_why());
    int zero = 0; /* no limit, or libzmq's thread would wait for this reader */
    zmq_setsockopt(s->monitor, ZMQ_RCVHWM, &zero, sizeof zero);
    zmq_setsockopt(s->monitor, ZMQ_LINGER, &zero, sizeof zero);
    if (zmq_connect(s->monitor, address))
        return fail("%s: %s", s->endpoint, zmq_why());
    return 0;
}

static int bind_endpoint(struct socket *s)
{
    char numeric[ADDRESS_NUMERIC];
    if (!zmq_bind(s->zmq, s->address))
        return 0;
    if (zmq_errno() == ENODEV && !strncmp(s->address, "tcp://", strlen("tcp://")))
        return address_numeric(s->address, numeric, sizeof numeric) ||
                       (zmq_bind(s->zmq, numeric) && fail("%s: %s", s->endpoint, zmq_why()))
                   ? -1
                   : 0;
    return fail("%s: %s", s->endpoint, zmq_why());
}

static int connect_endpoint(struct socket *s)
{
    return zmq_connect(s->zmq, s->address) ? fail("%s: %s", s->endpoint, zmq_why()) : 0;
}

static void free_socket(struct socket *s)
{
    if (!s)
        return;
    connections_free(&s->accepted);
    free(s->run);
    free(s->address);
    free(s->endpoint);
    free(s);
}

struct socket *socket_open(enum socket_role role, const char *endpoint,
                           const struct link_config *config)
{
    static const int types[] = {ZMQ_DEALER, ZMQ_ROUTER, ZMQ_PUSH, ZMQ_PULL};
    if (endpoint_allowed(endpoint, config))
        return NULL;
    struct socket *s = calloc(1, sizeof *s);
    if (!s || !(s->endpoint = strdup(endpoint)) || !(s->run = strdup(config->run)))
        fail_memory(endpoint);
    else
        s->address = address_of(endpoint);
    if (!s || !s->address) {
        free_socket(s);
        return NULL;
    }
    s->role = role;
    s->connection = s->same_user = -1;
    s->timeout = config->timeout;
    s->max_frame = config->max_frame;
    s->crc = config->crc;
    s->keyed = *config->curve_key && !strncmp(endpoint, "tcp://", strlen("tcp://"));
    s->opened = clock_now();
    if (n_sockets++ == 0)
        context = zmq_ctx_new();
    s->zmq = context ? zmq_socket(context, types[role]) : NULL;
    if (!s->zmq) {
        fail("%s: %s", endpoint, zmq_why());
        goto failed;
    }
    if (set_options(s, config) || open_monitor(s))
        goto failed;
    if (listens(s) && address_check_path(endpoint))
        goto failed;
    if (listens(s) ? bind_endpoint(s) : connect_endpoint(s))
        goto failed;
    if (listens(s) && !strncmp(endpoint, "ipc://", 6) && endpoint[6] != '@')
        s->path = s->endpoint + 6;
    if ((s->path || in_memory(s)) && role == SOCKET_ROUTER && shared_memory_wanted(config)) {
        s->meeting = meeting_open(endpoint, (size_t)config->max_frame);
        if (!s->meeting && in_memory(s))
            goto failed;
    }
    return s;
failed:
    socket_close(s, 0);
    return NULL;
}

bool socket_is_guarded(const struct socket *s)
{
    return *s->run || s->keyed;
}

/* ---- connections ---- */

void socket_tell_refusal(struct socket *s, const char *why)
{
    if (++s->refusals <= REFUSALS_TOLD)
        warn_line("%s: refused a peer: %s", s->endpoint, why);
    if (s->refusals == REFUSALS_TOLD)
        warn_line("%s: further ones are not told about", s->endpoint);
}

/* Reads all pending events of the monitor. */
static void read_events(struct socket *s)
{
    for (;;) {
        unsigned char event[6];
        int n = zmq_recv(s->monitor, event, sizeof event, ZMQ_DONTWAIT);
        if (n < 0)
            return;
        char address[256];
        zmq_recv(s->monitor, address, sizeof address, 0); /* the second part, not used */
        uint16_t what;
        int32_t fd;
        memcpy(&what, event, 2);
        memcpy(&fd, event + 2, 4);
        if (what == ZMQ_EVENT_ACCEPTED)
            connections_open(&s->accepted, fd);
        else if (what == ZMQ_EVENT_CONNECTED) {
            s->connection = fd;
            s->same_user = in_memory(s) ? shared_memory_same_user(fd) : 1;
        } else if (what == ZMQ_EVENT_CLOSED)
            s->closed = true;
        else if (what == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            s->joined++;
        else if (what == ZMQ_EVENT_DISCONNECTED) {
            if (s->failed_handshakes > 0) /* this connection never was a peer */
                s->failed_handshakes--;
            else if (s->left < s->joined)
                s->left++;
            s->closed = s->closed || s->joined == 0;
            connections_close(&s->accepted, fd);
            if (s->meeting)
                meeting_sweep(s->meeting);
        } else {
            s->failed_handshakes++;
            s->refused = true;
            s->denied = s->denied || what == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH;
            if (listens(s) && what != ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) /* keys.c reports those */
                socket_tell_refusal(s, "not ZeroMQ, or not the right keys");
        }
    }
}

bool socket_gone(const struct socket *s, int connection)
{
    return !connections_has(&s->accepted, connection);
}

void socket_traffic(const struct socket *s, int64_t *out, int64_t *in, struct traffic *shared)
{
    *out = s->sent;
    *in = s->taken;
    *shared = s->shared;
}

/* Waits for any of `events` on the socket, or for an event of the monitor. */
static int wait_for(struct socket *s, short events, double seconds)
{
    zmq_pollitem_t items[] = {{s->zmq, 0, events, 0}, {s->monitor, 0, ZMQ_POLLIN, 0}};
    double milliseconds = seconds < 0 ? -1 : seconds * 1000 + 1;
    if (zmq_poll(items, 2, milliseconds > 1e9 ? 1000000000 : (long)milliseconds) < 0 &&
        zmq_errno() != EINTR)
        return fail("%s: %s", s->endpoint, zmq_why());
    return stop_check();
}

/* Checks a client's server. Returns -1 with a message if it will not answer any more. */
static int check_server(struct socket *s)
{
    if (s->same_user == 0)
        return fail("%s: a process of another user has this name", s->endpoint);
    if (s->left > 0)
        return fail("%s: the connection was lost", s->endpoint);
    if (s->joined == 0 && s->denied)
        return fail("%s: refused this program's key: it is not among the clients it lets in",
                    s->endpoint);
    if (s->joined == 0 && clock_now() - s->opened >= s->timeout)
        return fail("%s: %s within %g s", s->endpoint,
                    s->refused ? "refused the handshake (wrong keys?), nobody else answered"
                               : "nobody answered",
                    s->timeout);
    return 0;
}

int socket_close(struct socket *s, double patience)
{
    if (!s)
        return 0;
    int status = 0;
    double started = clock_now();
    if (s->path)
        unlink(s->path); /* libzmq does not remove it */
    if (s->zmq) {
        if (s->monitor)
            read_events(s);
        const bool client = !listens(s);
        if (client && s->left > 0)
            patience = 0; /* there is no peer left to receive it */
        if (stop_requested() && patience > 1)
            patience = 1;
        if (patience > 0)
            set_int(s, ZMQ_LINGER, (int)(patience * 1000 < 2e9 ? patience * 1000 : 2e9));
        zmq_socket_monitor(s->zmq, NULL, 0);
        zmq_close(s->zmq);
    }
    if (s->monitor)
        zmq_close(s->monitor);
    if (--n_sockets == 0 && context) {
        while (zmq_ctx_term(context) && zmq_errno() == EINTR)
            ;
        context = NULL;
        keys_end();
        if (patience > 0 && clock_now() - started >= patience)
            status =
                fail("%s: the peer did not take what was sent within %g s", s->endpoint, patience);
    }
    meeting_close(s->meeting);
    free_socket(s);
    return status;
}

/* ---- messages ---- */

static void free_frame(void *bytes, void *frame)
{
    (void)bytes;
    frame_free(frame);
}

/* Sends one part of a message as soon as there is a connection and room. */
static int send_part(struct socket *s, zmq_msg_t *part, int flags)
{
    const bool client = !listens(s);
    while (zmq_msg_send(part, s->zmq, flags | ZMQ_DONTWAIT) < 0) {
        int why = zmq_errno(), bad = 0;
        if (why == EHOSTUNREACH)
            bad = fail("%s: the client is gone", s->endpoint);
        else if (why != EAGAIN && why != EINTR)
            bad = fail("%s: %s", s->endpoint, zmq_why());
        else {
            bad = wait_for(s, ZMQ_POLLOUT, 0.2);
            read_events(s);
            if (!bad && client) /* a stream's reader may be slow as long as it lives */
                bad = check_server(s);
        }
        if (bad) {
            zmq_msg_close(part);
            return -1;
        }
    }
    return 0;
}

/* Waits until a client of shm:// is connected to a process of its user. libzmq does not try again by
 * itself (set_user()). */
static int await_server(struct socket *s)
{
    while (s->joined == 0 || s->same_user != 1) {
        if (wait_for(s, 0, s->closed ? 0.05 : 0.2))
            return -1;
        if (s->closed) {
            s->closed = false;
            zmq_disconnect(s->zmq, s->address); /* ends the attempt that failed */
            if (connect_endpoint(s))
                return -1;
        }
        read_events(s);
        if (check_server(s))
            return -1;
    }
    return 0;
}

/* Sends the parts of an envelope and a message, which it closes on failure. */
static int send_message(struct socket *s, const struct envelope *to, zmq_msg_t *message)
{
    if (in_memory(s) && !listens(s) && await_server(s)) {
        zmq_msg_close(message);
        return -1;
    }
    for (int i = 0; to && i < to->n; i++) {
        zmq_msg_t part;
        bool good = zmq_msg_init_size(&part, to->parts[i].size) == 0;
        if (good)
            memcpy(zmq_msg_data(&part), to->parts[i].bytes, to->parts[i].size);
        else
            fail_memory(s->endpoint);
        if (!good || send_part(s, &part, ZMQ_SNDMORE)) {
            zmq_msg_close(message);
            return -1;
        }
    }
    return send_part(s, message, 0);
}

int socket_send(struct socket *s, const struct envelope *to, struct frame *f)
{
    const unsigned char *bytes;
    size_t size;
    zmq_msg_t message;
    if (*s->run)
        frame_set_meta(f, "run", s->run);
    if (frame_seal(f, s->crc, &bytes, &size)) {
        frame_free(f);
        return -1;
    }
    if (zmq_msg_init_data(&message, (void *)(uintptr_t)bytes, size, free_frame, f)) {
        frame_free(f);
        return fail("%s: %s", s->endpoint, zmq_why());
    }
    if (send_message(s, to, &message))
        return -1;
    s->sent += (int64_t)size;
    return 0;
}

int socket_send_header(struct socket *s, const struct envelope *to, struct frame *f)
{
    const unsigned char *bytes;
    size_t size, data = f->data_size;
    zmq_msg_t message;
    if (*s->run)
        frame_set_meta(f, "run", s->run);
    /* The header is copied, since libzmq would free the frame, and with it the memory that it holds,
     * on a thread of its own. */
    int bad = frame_seal_header(f, s->crc, &bytes, &size);
    if (!bad && zmq_msg_init_size(&message, size))
        bad = fail_memory(s->endpoint);
    else if (!bad)
        memcpy(zmq_msg_data(&message), bytes, size);
    frame_free(f);
    if (bad || send_message(s, to, &message))
        return -1;
    s->sent += (int64_t)(size + data);
    s->shared.out += (int64_t)data;
    s->shared.n++;
    return 0;
}

struct borrower *socket_borrower(const struct socket *s, const struct envelope *from)
{
    if (!s->meeting || from->n < 2)
        return NULL;
    const struct envelope_part *last = &from->parts[from->n - 1];
    return meeting_find(s->meeting, last->bytes, last->size);
}

void socket_share(struct socket *s, const struct frame_finder *finder)
{
    s->finder = *finder;
}

int socket_drain(struct socket *s)
{
    /* An I/O thread of libzmq refills the buffer as soon as there is room, so a buffer that stays
     * empty means that all has been sent. */
    for (int empty = 0; empty < 3;) {
        if (wait_for(s, 0, 0.01))
            return -1;
        read_events(s);
        int unread = 0;
        if (s->left > 0 || ioctl(s->connection, SIOCOUTQ, &unread))
            return 0; /* the peer has closed because it needs no more */
        empty = unread ? 0 : empty + 1;
    }
    return 0;
}

static int check_run(const struct socket *s, const struct frame *f)
{
    const char *run = frame_meta(f, "run");
    if (!*s->run || (run && !strcmp(run, s->run)))
        return 0;
    return run ? fail("a frame of run %.64s, not of %s", run, s->run)
               : fail("a frame of no run, not of %s", s->run);
}

/* Returns the frame of a message, with data that may be in shared memory. */
static struct frame *parse(const struct socket *s, const struct envelope *from, zmq_msg_t *message)
{
    struct borrower *b = socket_borrower(s, from);
    const struct frame_finder finder = b ? borrower_finder(b) : s->finder;
    return frame_parse_shared(zmq_msg_data(message), zmq_msg_size(message),
                              listens(s) ? "a message" : s->endpoint, finder.find ? &finder : NULL);
}

/* Reads one message that has arrived. Its last part is the frame, the parts before it are the
 * envelope. */
static enum socket_result read_message(struct socket *s, struct frame **out, struct envelope *from)
{
    struct envelope unused;
    if (!from)
        from = &unused;
    from->n = 0;
    from->connection = -1;
    zmq_msg_t part;
    zmq_msg_init(&part);
    for (bool more = true; more;) {
        int n = zmq_msg_recv(&part, s->zmq, ZMQ_DONTWAIT);
        if (n < 0) {
            bool none = zmq_errno() == EAGAIN || zmq_errno() == EINTR;
            zmq_msg_close(&part);
            if (none && from->n == 0)
                return SOCKET_NOTHING;
            fail("%s: %s", s->endpoint, zmq_why());
            return SOCKET_FAILED;
        }
        more = zmq_msg_more(&part);
        if (!more)
            break;
        if (from->n < 4 && zmq_msg_size(&part) <= sizeof from->parts[0].bytes) {
            struct envelope_part *p = &from->parts[from->n++];
            p->size = zmq_msg_size(&part);
            memcpy(p->bytes, zmq_msg_data(&part), p->size);
        }
    }
    read_events(s); /* a connection is accepted before its messages arrive */
    from->connection = connections_number(&s->accepted, zmq_msg_get(&part, ZMQ_SRCFD));
    *out = parse(s, from, &part);
    const size_t size = zmq_msg_size(&part);
    zmq_msg_close(&part);
    if (*out && (!listens(s) || !check_run(s, *out))) {
        const size_t shared = (*out)->shared ? (*out)->data_size : 0;
        s->taken += (int64_t)(size + shared);
        s->shared.in += (int64_t)shared;
        return SOCKET_FRAME;
    }
    frame_free(*out);
    *out = NULL;
    return listens(s) ? SOCKET_REFUSED : SOCKET_FAILED;
}

enum socket_result socket_receive(struct socket *s, double seconds, struct frame **out,
                                  struct envelope *from)
{
    double deadline = clock_now() + seconds;
    const bool client = !listens(s);
    for (;;) {
        if (s->meeting)
            meeting_welcome(s->meeting);
        read_events(s); /* events first: after its event, a peer that left sends no more */
        const enum socket_result got = read_message(s, out, from);
        if (got != SOCKET_NOTHING)
            return got;
        if (client && check_server(s))
            return SOCKET_FAILED;
        if (!client && s->left > s->reported) {
            s->reported = s->left;
            return SOCKET_NOTHING;
        }
        if (client && s->joined == 0)
            deadline = clock_now() + seconds; /* after a late start, the full time */
        double rest = deadline - clock_now();
        if (seconds >= 0 && rest <= 0)
            return SOCKET_NOTHING;
        if (client && s->joined == 0) {
            double patience = s->opened + s->timeout - clock_now();
            rest = seconds < 0 || patience < rest ? patience : rest;
            rest = rest > 0 ? rest : 0;
        } else if (seconds < 0)
            rest = -1;
        if (wait_for(s, ZMQ_POLLIN, rest))
            return SOCKET_FAILED;
    }
}
