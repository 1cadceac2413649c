#include "peers.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "link/endpoint.h"
#include "link/socket.h"

enum { PEERS = 10 };

static struct input messages;
static bool known[PEERS], gone[PEERS], guarded;

struct socket {
    enum socket_role role;
    bool lost; /* a client has lost its server */
};

void peers_play(struct input rest)
{
    messages = rest;
    guarded = rest.size % 2; /* either is possible for all messages */
    memset(known, 0, sizeof known);
    memset(gone, 0, sizeof gone);
}

struct socket *socket_open(enum socket_role role, const char *endpoint,
                           const struct link_config *config)
{
    struct socket *s = calloc(1, sizeof *s);
    assert(s && !endpoint_allowed(endpoint, config));
    s->role = role;
    return s;
}

bool socket_is_guarded(const struct socket *s)
{
    (void)s;
    return guarded;
}

int socket_close(struct socket *s, double patience)
{
    (void)patience;
    free(s);
    return 0;
}

int socket_drain(struct socket *s)
{
    (void)s;
    return 0;
}

bool socket_gone(const struct socket *s, int connection)
{
    (void)s;
    return connection < 0 || gone[connection];
}

void socket_traffic(const struct socket *s, int64_t *out, int64_t *in, struct traffic *shared)
{
    (void)s;
    *out = *in = 0;
    *shared = (struct traffic){0};
}

void socket_tell_refusal(struct socket *s, const char *why)
{
    assert(s && strlen(why));
}

int socket_send(struct socket *s, const struct envelope *to, struct frame *f)
{
    assert(!to == (s->role != SOCKET_ROUTER));
    look_at_frame(f);
    frame_free(f);
    return to && gone[to->connection] ? fail("the client is gone") : 0;
}

int socket_send_header(struct socket *s, const struct envelope *to, struct frame *f)
{
    return socket_send(s, to, f);
}

struct borrower *socket_borrower(const struct socket *s, const struct envelope *from)
{
    assert(s && from);
    return NULL;
}

void socket_share(struct socket *s, const struct frame_finder *finder)
{
    assert(s && finder);
}

enum socket_result socket_receive(struct socket *s, double seconds, struct frame **out,
                                  struct envelope *from)
{
    (void)seconds;
    struct input part;
    if (!input_part(&messages, &part)) {
        fail("stopped");
        return SOCKET_FAILED;
    }
    const uint8_t kind = input_byte(&part);
    const int peer = (kind == '-' ? input_byte(&part) : kind) % PEERS;
    const bool client = s->role == SOCKET_DEALER;
    if (kind == '-' && known[peer])
        gone[peer] = true;
    if (kind == '-' || kind == '~')
        return client && fail("the connection was lost") ? SOCKET_FAILED : SOCKET_NOTHING;
    if (gone[peer]) /* this fuzzer does not simulate the new connection that it would need */
        return SOCKET_NOTHING;
    known[peer] = true;
    if (from)
        *from = (struct envelope){
            .parts = {{.bytes = {(unsigned char)peer}, .size = 1}}, .n = 1, .connection = peer};
    *out = input_frame(part);
    const bool listens = s->role == SOCKET_ROUTER || s->role == SOCKET_PULL;
    return *out ? SOCKET_FRAME : listens ? SOCKET_REFUSED : SOCKET_FAILED;
}
