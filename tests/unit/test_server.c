/* Tests server: several servers in one process, each with its own settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fail.h"
#include "base/signals.h"
#include "link/link.h"
#include "link/server.h"
#include "link/stream.h"

#include <cmocka.h> /* comes last because it defines a macro fail */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL = 4096, LARGE = 1 << 20, PATIENCE = 60 };

static char folder[] = "/tmp/test_server-XXXXXX";

static const char *path_of(const char *scheme, const char *name)
{
    static _Thread_local char paths[4][64];
    static _Thread_local int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s%s/%s", scheme, folder, name);
    return path;
}

static struct link_config settings(double timeout, int64_t max_frame, const char *run)
{
    return (struct link_config){.timeout = timeout,
                                .max_frame = max_frame,
                                .curve_key = "",
                                .curve_server_key = "",
                                .curve_clients = "",
                                .run = run};
}

static struct server *open_at(const char *listen, const struct link_config *config)
{
    struct server *s = server_open(
        &(struct server_config){.in = "-", .out = "-", .listen = listen, .link = config});
    assert_string_equal(s ? "" : fail_message(), "");
    return s;
}

static struct frame *floats(int64_t n)
{
    struct frame *f = frame_new(&(struct tensor_spec){"x", DTYPE_F32, 1, {n}}, 1);
    assert_non_null(f);
    return f;
}

/* A server in a thread that answers each request with the request itself until its clients have
 * ended. */
struct echo {
    pthread_t thread;
    struct server *server;
    enum server_result last;
    int answered;
    struct fail_note note; /* message of a failure */
};

static void *echo_run(void *arg)
{
    struct echo *e = arg;
    struct frame *f;
    int client;
    while ((e->last = server_next(e->server, &f, &client, NULL)) == SERVER_REQUEST) {
        frame_drop_meta(f, "crc32");
        frame_drop_meta(f, "run");
        if (server_reply(e->server, client, f))
            break;
        e->answered++;
    }
    fail_save(&e->note);
    return NULL;
}

static void echo_start(struct echo *e, struct server *server)
{
    *e = (struct echo){.server = server};
    assert_int_equal(pthread_create(&e->thread, NULL, echo_run, e), 0);
}

/* Waits until all clients of the server have ended without a failure, and closes it. */
static void echo_end(struct echo *e, int answered)
{
    assert_int_equal(pthread_join(e->thread, NULL), 0);
    assert_string_equal(e->last == SERVER_ENDED ? "" : e->note.text, "");
    assert_int_equal(e->answered, answered);
    assert_int_equal(server_end(e->server), 0);
}

/* Sends n floats and ends the link. Returns the answer, or NULL with a message if there is none. */
static struct frame *ask(const char *address, const struct link_config *config, int64_t n)
{
    struct frame *reply = NULL;
    struct link *l = link_open(address, config);
    assert_string_equal(l ? "" : fail_message(), "");
    if (!link_request(l, floats(n), &reply)) {
        assert_int_equal(link_end(l), 0);
        assert_int_equal(link_close(l), 0);
        return reply;
    }
    struct fail_note note;
    fail_save(&note);
    link_close(l);
    fail_restore(&note);
    return NULL;
}

static void expect_answer(const char *address, const struct link_config *config, int64_t n)
{
    struct frame *reply = ask(address, config, n);
    assert_string_equal(reply ? "" : fail_message(), "");
    assert_int_equal(tensor_count(frame_find(reply, "x")), n);
    frame_free(reply);
}

static void expect_failure(const char *address, const struct link_config *config, int64_t n,
                           const char *message)
{
    struct frame *reply = ask(address, config, n);
    assert_null(reply);
    assert_non_null(strstr(fail_message(), message));
}

static void test_sizes(void **state)
{
    (void)state;
    const char *small = path_of("ipc://", "small"), *large = path_of("ipc://", "large");
    struct link_config config = settings(PATIENCE, SMALL, "");
    struct echo a, b;
    struct server *first = open_at(small, &config);
    config.max_frame = LARGE;
    struct server *second = open_at(large, &config);
    echo_start(&a, first);
    echo_start(&b, second);
    expect_answer(large, &config, 10000);
    expect_failure(small, &config, 10000, "the connection was lost");
    expect_answer(small, &config, 100);
    echo_end(&a, 1);
    echo_end(&b, 1);
}

static void test_runs(void **state)
{
    (void)state;
    const char *alpha = path_of("ipc://", "alpha"), *beta = path_of("ipc://", "beta");
    char run[8] = "alpha"; /* servers keep a copy */
    struct link_config config = settings(PATIENCE, LARGE, run);
    struct echo a, b;
    struct server *first = open_at(alpha, &config);
    strcpy(run, "beta");
    struct server *second = open_at(beta, &config);
    strcpy(run, "neither");
    echo_start(&a, first);
    echo_start(&b, second);
    const struct link_config hasty = settings(0.5, LARGE, "alpha"),
                             of_alpha = settings(PATIENCE, LARGE, "alpha"),
                             of_beta = settings(PATIENCE, LARGE, "beta");
    expect_answer(alpha, &of_alpha, 10);
    expect_failure(beta, &hasty, 10, "no answer within 0.5 s");
    expect_answer(beta, &of_beta, 10);
    echo_end(&a, 1);
    echo_end(&b, 1);
}

static void test_timeouts_and_checksums(void **state)
{
    (void)state;
    const char *hasty = path_of("ipc://", "hasty"), *patient = path_of("ipc://", "patient");
    struct link_config config = settings(0.2, LARGE, "");
    struct server *first = open_at(hasty, &config);
    config.timeout = PATIENCE;
    config.crc = true;
    struct server *second = open_at(patient, &config);
    config.crc = false;
    struct frame *f;
    assert_int_equal(server_next(first, &f, NULL, NULL), SERVER_FAILED);
    assert_non_null(strstr(fail_message(), "no client came within 0.2 s"));
    server_abandon(first);
    struct echo b, c;
    echo_start(&b, second);
    echo_start(&c, open_at(hasty, &config));
    struct frame *reply = ask(patient, &config, 10);
    assert_non_null(reply);
    assert_non_null(frame_meta(reply, "crc32"));
    frame_free(reply);
    reply = ask(hasty, &config, 10);
    assert_non_null(reply);
    assert_null(frame_meta(reply, "crc32"));
    frame_free(reply);
    echo_end(&b, 1);
    echo_end(&c, 1);
}

/* The client of a server over two FIFOs. */
struct pipe_client {
    struct link_config config;
    int64_t n;
    enum source_result got;
    struct fail_note note;
};

static void *pipe_client_run(void *arg)
{
    struct pipe_client *c = arg;
    struct sink *requests = sink_open(path_of("", "in"), &c->config);
    struct source *replies = source_open(path_of("", "out"), &c->config);
    struct frame *f = NULL;
    sink_write(requests, floats(c->n));
    c->got = source_next(replies, &f);
    fail_save(&c->note);
    sink_end(requests);
    for (enum source_result got = c->got; got == SOURCE_FRAME; got = source_next(replies, &f))
        frame_free(f); /* the server ends after this */
    source_close(replies);
    return NULL;
}

/* Runs a server over FIFOs with that limit, and a client that sends n floats. Returns what the
 * client received. */
static struct pipe_client over_pipes(int64_t max_frame, int64_t n)
{
    const struct link_config config = settings(PATIENCE, max_frame, "");
    struct pipe_client c = {.config = settings(PATIENCE, LARGE, ""), .n = n, .got = SOURCE_END};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, pipe_client_run, &c), 0);
    struct server *s = server_open(&(struct server_config){
        .in = path_of("", "in"), .out = path_of("", "out"), .listen = "", .link = &config});
    assert_non_null(s);
    struct echo e = {.server = s};
    echo_run(&e);
    if (e.last == SERVER_ENDED)
        assert_int_equal(server_end(s), 0);
    else {
        fail_restore(&e.note);
        server_abandon(s);
        assert_string_equal(fail_message(), e.note.text);
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    return c;
}

static void test_pipes_beside_a_socket(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(path_of("", "in"), 0600) | mkfifo(path_of("", "out"), 0600), 0);
    const char *address = path_of("ipc://", "beside");
    const struct link_config config = settings(PATIENCE, LARGE, "gamma");
    struct echo a;
    echo_start(&a, open_at(address, &config));
    struct pipe_client c = over_pipes(SMALL, 10000);
    assert_int_equal(c.got, SOURCE_FAILED);
    assert_non_null(strstr(c.note.text, "over the limit of 4096 (--max-frame)"));
    expect_answer(address, &config, 10000); /* the socket has another limit */
    c = over_pipes(SMALL, 100);
    assert_int_equal(c.got, SOURCE_FRAME);
    echo_end(&a, 1);
}

static int make_folder(void **state)
{
    (void)state;
    signals_setup();
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path_of("", "in"));
    unlink(path_of("", "out"));
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_timeouts_and_checksums),
        cmocka_unit_test(test_pipes_beside_a_socket),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
