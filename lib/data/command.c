#include "data/command.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/stop.h"
#include "base/warn.h"
#include "link/child.h"

static const double FIRST_PAUSE = 0.1, LONGEST_PAUSE = 5; /* seconds before a retry */

struct command {
    const char *name;
    char *text;
    double timeout;
    pid_t pid; /* 0: it has exited */
    int fd;    /* of the pipe from its stdout; -1: closed */
    bool ended;
    bool failed; /* reading has failed, for the reason in `failure` */
    struct fail_note failure;
    int64_t retries, tried; /* how often it may be run again, and how often it was */
    double pause;           /* before the next retry */
};

/* ---- one run ---- */

static int run(struct command *c)
{
    c->ended = c->failed = false;
    if (child_start(c->text, &c->pid, NULL, &c->fd) == 0)
        return 0;
    c->fd = -1;
    return -1;
}

static void stop(struct command *c)
{
    if (c->pid)
        child_stop_group(&c->pid, c->fd);
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
}

struct command *command_start(const char *name, const char *text, const struct link_config *links,
                              int64_t retries)
{
    struct command *c = calloc(1, sizeof *c);
    if (!c) {
        fail_memory(name);
        return NULL;
    }
    c->name = name;
    c->timeout = links->timeout;
    c->fd = -1;
    c->retries = retries;
    c->pause = FIRST_PAUSE;
    c->text = strdup(text);
    if (!c->text)
        fail_memory(name);
    else if (run(c) == 0)
        return c;
    command_end(c);
    return NULL;
}

void command_end(struct command *c)
{
    if (!c)
        return;
    stop(c);
    free(c->text);
    free(c);
}

/* ---- its output ---- */

/* Keeps the message as that of the command. */
static int failed(struct command *c)
{
    c->failed = true;
    fail_save(&c->failure);
    return -1;
}

int command_wait(struct command *c)
{
    const double deadline = clock_now() + c->timeout;
    for (;;) {
        const double rest = deadline - clock_now();
        struct pollfd item = {c->fd, POLLIN, 0};
        const int n = poll(&item, 1, rest > 0 ? (int)(rest * 1000) + 1 : 0);
        if (n > 0)
            return 0;
        if (stop_check())
            return failed(c);
        if (n == 0) {
            fail("%s: delivered nothing for %g s (--timeout)", c->name, c->timeout);
            return failed(c);
        }
    }
}

ssize_t command_read(struct command *c, void *out, size_t n)
{
    if (c->failed)
        return fail_restore(&c->failure);
    if (c->ended)
        return 0;
    for (;;) {
        if (command_wait(c))
            return -1;
        const ssize_t got = read(c->fd, out, n);
        if (got == 0)
            c->ended = true;
        if (got >= 0)
            return got;
        if (errno != EINTR && errno != EAGAIN) {
            fail("%s: %s", c->name, strerror(errno));
            return failed(c);
        }
    }
}

/* Copies bytes of the pipe by tee(2), which does not consume them. Returns true if there are n
 * bytes or no more will come. */
static bool peek(const struct command *c, const int ends[2], void *out, size_t n, ssize_t *got)
{
    struct pollfd end = {c->fd, 0, 0};
    const bool over = poll(&end, 1, 0) > 0 && (end.revents & POLLHUP);
    *got = tee(c->fd, ends[1], n, SPLICE_F_NONBLOCK);
    if (*got < 0 && errno == EINVAL) { /* no pipe, but a file */
        *got = pread(c->fd, out, n, lseek(c->fd, 0, SEEK_CUR));
        return true;
    }
    if (*got > 0 && read(ends[0], out, (size_t)*got) != *got)
        *got = -1;
    else if (*got < 0 && (errno == EAGAIN || errno == EINTR))
        *got = 0;
    return *got < 0 || *got == (ssize_t)n || over;
}

ssize_t command_peek(struct command *c, void *out, size_t n)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return fail("pipe: %s", strerror(errno));
    const double deadline = clock_now() + c->timeout;
    ssize_t got = 0;
    int result = command_wait(c);
    while (result == 0 && !peek(c, ends, out, n, &got)) {
        if (stop_check())
            result = failed(c);
        else if (clock_now() >= deadline) {
            fail("%s: delivered no more than %zd bytes within %g s (--timeout)", c->name, got,
                 c->timeout);
            result = failed(c);
        } else
            nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    }
    if (result == 0 && got < 0)
        fail("%s: %s", c->name, strerror(errno));
    close(ends[0]);
    close(ends[1]);
    return result ? -1 : got;
}

int command_descriptor(const struct command *c)
{
    return c->fd;
}

void command_ended(struct command *c)
{
    c->ended = true;
}

/* ---- its end ---- */

int command_finish(struct command *c)
{
    if (c->failed)
        return fail_restore(&c->failure);
    if (!c->pid)
        return 0;
    if (child_finish(&c->pid, c->timeout) == 0)
        return 0;
    fail_prefix("%s", c->name);
    return failed(c);
}

/* Returns true if the pipe is empty and nothing will come any more. */
static bool at_end(const struct command *c)
{
    struct pollfd end = {c->fd, POLLIN, 0};
    return c->ended || (poll(&end, 1, 0) > 0 && (end.revents & (POLLHUP | POLLIN)) == POLLHUP);
}

int command_blame(struct command *c)
{
    if (c->failed)
        return fail_restore(&c->failure);
    struct fail_note note;
    fail_save(&note);
    if (at_end(c) && command_finish(c))
        return -1;
    return fail_restore(&note);
}

/* ---- again ---- */

/* Waits, unless the program should stop. */
static int pause_before(double seconds)
{
    for (double part; seconds > 0; seconds -= part) {
        if (stop_check())
            return -1;
        part = seconds < 0.1 ? seconds : 0.1;
        nanosleep(&(struct timespec){.tv_nsec = (long)(part * 1e9)}, NULL);
    }
    return stop_check();
}

enum command_retry command_retry(struct command *c, int64_t n, const char *things)
{
    if (stop_check())
        return COMMAND_GIVE_UP;
    if (c->tried == c->retries) {
        if (c->retries)
            fail("%s, after %lld %s (retries: %lld)", fail_message(), (long long)n, things,
                 (long long)c->retries);
        else
            fail("%s, after %lld %s (--retries N would run it again)", fail_message(), (long long)n,
                 things);
        return COMMAND_GIVE_UP;
    }
    c->tried++;
    warn_line("%s, after %lld %s: it runs again in %g s (retry %lld of %lld)", fail_message(),
              (long long)n, things, c->pause, (long long)c->tried, (long long)c->retries);
    stop(c);
    if (pause_before(c->pause))
        return COMMAND_GIVE_UP;
    c->pause = c->pause * 2 < LONGEST_PAUSE ? c->pause * 2 : LONGEST_PAUSE;
    return run(c) ? COMMAND_GIVE_UP : COMMAND_AGAIN;
}
