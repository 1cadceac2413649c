#include "link/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/stop.h"
#include "frame/frame_io.h"
#include "link/child.h"
#include "link/socket.h"
#include "link/traffic.h"

enum { HELD_MAX = 64 }; /* most frames that are kept because they came too early */

/* The state of one stream that is read. */
struct feed {
    char *name;
    double timeout;
    struct socket *socket; /* or a descriptor: */
    int fd;
    pid_t child;
    struct frame_reader *reader;
    bool regular; /* a regular file may end without an end frame */
    bool ended;   /* the last frame was an end frame */
    bool over;    /* no more frames will come */
    int64_t next_seq;
    double waiting_since; /* when the wait for the first frame began, or 0 */
    bool started;         /* a frame has come over the socket, on connection `producer` */
    int producer;
    struct frame *held[HELD_MAX];
    int n_held;
    int64_t frames; /* frames returned so far */
    double waited;  /* seconds spent waiting for them and for the end */
};

/* The source of a stream. Frame i comes from feed i mod n. */
struct source {
    struct feed *feeds[ENDPOINTS_MAX];
    int n;
    int turn; /* the feed of the next frame */
    int last; /* the feed of the last frame */
    double patience;
    bool finished; /* the end was returned */
};

struct sink {
    char *name;
    double timeout;
    bool crc;
    struct socket *socket; /* or a descriptor: */
    int fd;
    pid_t child;
    struct atomic_file file; /* a regular file appears when it is complete */
    bool terminal;
    int64_t next_seq;
    int64_t bytes;         /* written to the descriptor, or to shared memory */
    struct traffic shared; /* of these, those in shared memory */
    double waited;         /* seconds spent waiting until the reader took what was written */
};

/* ---- one stream ---- */

/* Reports the traffic of a stream that has ended. */
static void tell_edge(const struct feed *s)
{
    struct traffic edge = {.what = "frames", .n = s->frames, .waited = s->waited};
    if (!s->over)
        return;
    struct traffic shared = {.n = s->frames};
    if (s->socket)
        socket_traffic(s->socket, &edge.out, &edge.in, &shared);
    else {
        edge.in = frame_reader_taken(s->reader);
        shared.in = frame_reader_found(s->reader);
    }
    traffic_report(s->name, &edge, &shared);
}

static void feed_close(struct feed *s)
{
    if (!s)
        return;
    tell_edge(s);
    socket_close(s->socket, 0);
    if (s->fd > 0)
        close(s->fd);
    if (s->child)
        child_stop(&s->child);
    for (int i = 0; i < s->n_held; i++)
        frame_free(s->held[i]);
    frame_reader_free(s->reader);
    free(s->name);
    free(s);
}

static int open_feed(struct feed *s, const char *endpoint, enum endpoint_kind kind,
                     const struct link_config *config)
{
    switch (kind) {
    case ENDPOINT_SOCKET:
        return (s->socket = socket_open(SOCKET_PULL, endpoint, config)) ? 0 : -1;
    case ENDPOINT_EXEC:
        if (child_start(endpoint + 5, &s->child, NULL, &s->fd))
            return -1;
        break;
    case ENDPOINT_STANDARD:
        s->fd = 0;
        break;
    case ENDPOINT_PATH:
        s->fd = open(endpoint, O_RDONLY | O_CLOEXEC);
        if (s->fd < 0)
            return errno == EINTR && stop_check() ? -1 : fail("%s: %s", endpoint, strerror(errno));
        break;
    }
    struct stat status;
    s->regular = !fstat(s->fd, &status) && S_ISREG(status.st_mode);
    s->reader = frame_reader_new((size_t)config->max_frame, s->name);
    return s->reader ? 0 : -1;
}

static struct feed *feed_open(const char *endpoint, enum endpoint_kind kind,
                              const struct link_config *config)
{
    struct feed *s = calloc(1, sizeof *s);
    if (!s) {
        fail_memory(endpoint);
        return NULL;
    }
    s->fd = -1;
    s->timeout = config->timeout;
    s->name = strdup(strcmp(endpoint, "-") ? endpoint : "stdin");
    if (!s->name || open_feed(s, endpoint, kind, config)) {
        feed_close(s);
        return NULL;
    }
    return s;
}

/* Waits up to `seconds` until fd is readable; a negative number waits without limit. Returns a
 * positive number if it is, 0 if the time is over, -1 with a message if the program was asked to
 * stop. */
static int wait_readable(int fd, double seconds)
{
    struct pollfd item = {fd, POLLIN, 0};
    double deadline = clock_now() + seconds;
    for (;;) {
        double rest = deadline - clock_now();
        int n = poll(&item, 1, seconds < 0 ? -1 : rest > 0 ? (int)(rest * 1000) + 1 : 0);
        if (n >= 0)
            return n;
        if (stop_check())
            return -1;
    }
}

/* Checks, at the end of the file, that the stream is complete. Returns -1 with a message. */
static int at_eof(struct feed *s)
{
    if (!s->ended && !s->regular)
        return fail("%s: ended without an end frame: its producer died", s->name);
    if (s->child && child_wait(&s->child, s->timeout))
        return fail_prefix("%s", s->name);
    return 0;
}

/* Returns the next frame from a descriptor. A file may hold several streams one after the other, so
 * an end frame in the middle does not end it; only the end of the file shows which was the last. If
 * a writer does not close its end after the end frame, this waits for it no longer than `patience`.
 */
static enum source_result next_from_descriptor(struct feed *s, double patience, struct frame **out)
{
    for (;;) {
        int ready = wait_readable(s->fd, s->ended ? patience : -1);
        if (ready < 0)
            return SOURCE_FAILED;
        if (ready == 0)
            return SOURCE_END;
        switch (frame_reader_step(s->reader, s->fd, out)) {
        case FRAME_READER_FRAME:
            return SOURCE_FRAME;
        case FRAME_READER_FAILED:
            return SOURCE_FAILED;
        case FRAME_READER_EOF:
            return at_eof(s) ? SOURCE_FAILED : SOURCE_END;
        case FRAME_READER_MORE:
            break;
        }
    }
}

static int hold(struct feed *s, struct frame *f)
{
    if (s->n_held == HELD_MAX) {
        frame_free(f);
        return fail("%s: frame %lld is missing: %d later ones have come", s->name,
                    (long long)s->next_seq, HELD_MAX);
    }
    s->held[s->n_held++] = f;
    return 0;
}

/* Takes the frame whose turn it is, if it has already arrived. */
static struct frame *take_held(struct feed *s)
{
    for (int i = 0; i < s->n_held; i++) {
        int64_t seq;
        if (!frame_meta_int(s->held[i], "seq", -1, &seq) && seq == s->next_seq) {
            struct frame *f = s->held[i];
            s->held[i] = s->held[--s->n_held];
            return f;
        }
    }
    return NULL;
}

/* Waits for the next frame from the socket. Returns -1 with a message. */
static int receive(struct feed *s, struct frame **out)
{
    if (s->waiting_since == 0)
        s->waiting_since = clock_now();
    for (;;) {
        struct envelope from;
        const double rest = s->waiting_since + s->timeout - clock_now();
        const enum socket_result got = socket_receive(s->socket,
                                                      s->started ? -1
                                                      : rest > 0 ? rest
                                                                 : 0,
                                                      out, &from);
        if (got == SOCKET_FAILED)
            return -1;
        if (got == SOCKET_REFUSED)
            socket_tell_refusal(s->socket, fail_message());
        if (got == SOCKET_FRAME) {
            s->started = true;
            s->producer = from.connection;
            return 0;
        }
        if (got == SOCKET_NOTHING && s->started && socket_gone(s->socket, s->producer))
            return fail("%s: ended without an end frame: its producer died", s->name);
        if (got == SOCKET_NOTHING && !s->started && clock_now() - s->waiting_since >= s->timeout)
            return fail("%s: nobody sent anything within %g s", s->name, s->timeout);
    }
}

static enum source_result next_from_socket(struct feed *s, struct frame **out)
{
    for (;;) {
        if ((*out = take_held(s))) {
            s->next_seq++;
            return SOURCE_FRAME;
        }
        if (s->ended)
            return SOURCE_END;
        if (receive(s, out))
            return SOURCE_FAILED;
        int64_t seq;
        if (frame_meta_int(*out, "seq", s->next_seq, &seq)) {
            frame_free(*out);
            fail_prefix("%s", s->name);
            return SOURCE_FAILED;
        }
        if (seq < s->next_seq) {
            frame_free(*out);
            fail("%s: frame %lld came twice", s->name, (long long)seq);
            return SOURCE_FAILED;
        }
        if (seq == s->next_seq) {
            s->next_seq++;
            return SOURCE_FRAME;
        }
        if (hold(s, *out))
            return SOURCE_FAILED;
    }
}

/* Returns the next frame of a feed. After the end it may be called again, to look for what follows
 * the end frame. */
static enum source_result feed_next(struct feed *s, double patience, struct frame **out)
{
    for (;;) {
        const double since = clock_now();
        const enum source_result got =
            s->socket ? next_from_socket(s, out) : next_from_descriptor(s, patience, out);
        s->waited += clock_now() - since;
        s->over = got == SOURCE_END;
        if (got != SOURCE_FRAME)
            return got;
        const char *error = frame_meta(*out, "error");
        if (error) {
            fail("%s: %s", s->name, error);
            frame_free(*out);
            return SOURCE_FAILED;
        }
        s->ended = frame_is_end(*out);
        s->frames += !s->ended;
        if (!s->ended)
            return SOURCE_FRAME;
        frame_free(*out);
    }
}

/* ---- source ---- */

const char *source_name(const struct source *s)
{
    return s->feeds[s->last]->name;
}

void source_set_patience(struct source *s, double seconds)
{
    if (seconds < s->patience)
        s->patience = seconds;
}

void source_share(struct source *s, const struct frame_finder *finder)
{
    frame_reader_share(s->feeds[0]->reader, finder);
}

void source_close(struct source *s)
{
    if (!s)
        return;
    for (int i = 0; i < s->n; i++)
        feed_close(s->feeds[i]);
    free(s);
}

/* Returns true if an earlier endpoint of the list has already bound this address. A socket can be
 * bound only once, and testing whether the address is in use would disturb the first one. */
static bool bound_already(const struct source *s, const char *endpoint)
{
    for (int i = 0; i < s->n; i++)
        if (!strcmp(s->feeds[i]->name, endpoint) && endpoint_kind(endpoint) == ENDPOINT_SOCKET)
            return true;
    return false;
}

struct source *source_open(const char *endpoint, const struct link_config *config)
{
    struct source *s = calloc(1, sizeof *s);
    if (!s) {
        fail_memory(endpoint);
        return NULL;
    }
    s->patience = config->timeout;
    size_t length;
    for (const char *rest = endpoint, *at; (at = endpoint_take(&rest, &length)); s->n++) {
        char *one = strndup(at, length);
        if (!one)
            fail_memory(endpoint);
        else if (s->n == ENDPOINTS_MAX)
            fail("a list of more than %d streams", ENDPOINTS_MAX);
        else if (bound_already(s, one))
            fail("%s: stands twice among the streams", one);
        else
            s->feeds[s->n] = feed_open(one, endpoint_kind(one), config);
        free(one);
        if (s->n == ENDPOINTS_MAX || !s->feeds[s->n]) {
            source_close(s);
            return NULL;
        }
    }
    return s;
}

struct source *source_open_file(const char *path, const struct link_config *config)
{
    const enum endpoint_kind kind = strcmp(path, "-") ? ENDPOINT_PATH : ENDPOINT_STANDARD;
    struct source *s = calloc(1, sizeof *s);
    if (s && (s->feeds[0] = feed_open(path, kind, config))) {
        s->patience = config->timeout;
        s->n = 1;
        return s;
    }
    if (!s)
        fail_memory(path);
    free(s);
    return NULL;
}

/* Checks, when the endpoint whose turn it is has ended, that all others have ended too. Waits until
 * `until` for what may follow their end frames. Returns -1 with a message. */
static int check_others(struct source *s, double until)
{
    for (int i = 1; i < s->n; i++) {
        struct feed *other = s->feeds[(s->turn + i) % s->n];
        const double rest = until - clock_now();
        struct frame *f;
        const enum source_result got = feed_next(other, rest > 0 ? rest : 0, &f);
        if (got == SOURCE_FAILED)
            return -1;
        if (got == SOURCE_FRAME) {
            frame_free(f);
            return fail("%s: ended, and %s goes on", s->feeds[s->turn]->name, other->name);
        }
    }
    return 0;
}

enum source_result source_next(struct source *s, struct frame **out)
{
    if (s->finished)
        return SOURCE_END;
    s->last = s->turn;
    const enum source_result got = feed_next(s->feeds[s->turn], s->patience, out);
    if (got == SOURCE_END) {
        s->finished = true; /* first all end frames, so that all share one wait */
        if (check_others(s, 0) || check_others(s, clock_now() + s->patience))
            return SOURCE_FAILED;
    } else if (got == SOURCE_FRAME)
        s->turn = (s->turn + 1) % s->n;
    return got;
}

/* ---- sink ---- */

static void free_sink(struct sink *s)
{
    free(s->name);
    free(s);
}

static int open_path(struct sink *s, const char *path)
{
    struct stat status;
    if (stat(path, &status) || S_ISREG(status.st_mode)) {
        if (atomic_file_open(&s->file, path))
            return -1;
        s->fd = fileno(s->file.file);
        return 0;
    }
    s->fd = open(path, O_WRONLY | O_CLOEXEC); /* for a FIFO this waits for the reader */
    if (s->fd >= 0) {
        child_widen_pipe(s->fd);
        return 0;
    }
    return errno == EINTR && stop_check() ? -1 : fail("%s: %s", path, strerror(errno));
}

struct sink *sink_open(const char *endpoint, const struct link_config *config)
{
    struct sink *s = calloc(1, sizeof *s);
    if (!s || !(s->name = strdup(strcmp(endpoint, "-") ? endpoint : "stdout"))) {
        free(s);
        fail_memory(endpoint);
        return NULL;
    }
    s->fd = -1;
    s->timeout = config->timeout;
    s->crc = config->crc;
    int bad = 0;
    switch (endpoint_kind(endpoint)) {
    case ENDPOINT_SOCKET:
        bad = !(s->socket = socket_open(SOCKET_PUSH, endpoint, config));
        break;
    case ENDPOINT_EXEC:
        bad = child_start(endpoint + 5, &s->child, &s->fd, NULL);
        break;
    case ENDPOINT_STANDARD:
        s->fd = 1;
        s->terminal = isatty(1);
        child_widen_pipe(s->fd);
        break;
    case ENDPOINT_PATH:
        bad = open_path(s, endpoint);
        break;
    }
    if (bad) {
        free_sink(s);
        return NULL;
    }
    return s;
}

/* Writes to the descriptor: the whole frame, or its header alone. Consumes f. */
static int write_descriptor(struct sink *s, struct frame *f, bool header)
{
    const unsigned char *bytes;
    size_t size;
    int bad =
        header ? frame_seal_header(f, s->crc, &bytes, &size) : frame_seal(f, s->crc, &bytes, &size);
    bad = bad || write_all(s->fd, bytes, size, s->name);
    if (!bad && header) {
        s->shared.n++;
        s->shared.out += (int64_t)f->data_size;
        size += f->data_size;
    }
    frame_free(f);
    s->bytes += bad ? 0 : (int64_t)size;
    return bad ? -1 : 0;
}

int sink_write_header(struct sink *s, struct frame *f)
{
    const double since = clock_now();
    s->next_seq++;
    const int bad = write_descriptor(s, f, true);
    s->waited += clock_now() - since;
    return bad;
}

int sink_write(struct sink *s, struct frame *f)
{
    if (s->terminal && f->n_tensors) {
        frame_free(f);
        return fail("stdout is a terminal; lead the frames into a program, such as inspect");
    }
    if (s->terminal && frame_meta(f, "error")) { /* the same text goes to stderr */
        frame_free(f);
        return 0;
    }
    const double since = clock_now();
    const int64_t seq = s->next_seq++;
    if (s->socket) {
        frame_set_meta_int(f, "seq", seq);
        const int bad = socket_send(s->socket, NULL, f);
        s->waited += clock_now() - since;
        return bad;
    }
    const int bad = write_descriptor(s, f, false);
    s->waited += clock_now() - since;
    if (bad && s->child && !stop_requested() && child_wait(&s->child, 2) && !s->child)
        fail_prefix("%s", s->name); /* the message says why its reader is gone */
    return bad;
}

int sink_end(struct sink *s)
{
    struct frame *end = frame_new_end();
    if (!end || sink_write(s, end)) {
        sink_abandon(s);
        return -1;
    }
    int bad = 0;
    struct traffic edge = {.what = "frames", .n = s->next_seq - 1, .out = s->bytes};
    edge.waited = s->waited;
    if (s->socket) {
        socket_traffic(s->socket, &edge.out, &edge.in, &s->shared);
        bad = socket_drain(s->socket);
        bad = socket_close(s->socket, bad ? 0 : s->timeout) || bad;
    } else if (s->file.file)
        bad = atomic_file_commit(&s->file);
    else if (close(s->fd))
        bad = fail("%s: %s", s->name, strerror(errno));
    if (!bad && s->child && (bad = child_wait(&s->child, s->timeout)))
        fail_prefix("%s", s->name);
    if (s->child)
        child_stop(&s->child);
    if (!bad)
        traffic_report(s->name, &edge, &s->shared);
    free_sink(s);
    return bad;
}

void sink_abandon(struct sink *s)
{
    if (!s)
        return;
    struct fail_note note;
    fail_save(&note);
    socket_close(s->socket, 0);
    if (s->file.file)
        atomic_file_abandon(&s->file);
    else if (s->fd >= 0)
        close(s->fd);
    if (s->child && child_wait(&s->child, 2) && s->child)
        child_stop(&s->child);
    free_sink(s);
    fail_restore(&note);
}
