#include "link/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "base/clock.h"
#include "base/fail.h"
#include "base/signals.h"
#include "base/stop.h"
#include "link/borrower.h"
#include "link/shared_memory.h"

enum { CHILDREN_MAX = 64, PIPE_SIZE = 1 << 20 };
static pid_t children[CHILDREN_MAX];

static void remember(pid_t from, pid_t to)
{
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (children[i] == from) {
            children[i] = to;
            return;
        }
}

static void stop_all(void)
{
    for (int i = 0; i < CHILDREN_MAX; i++)
        if (children[i]) {
            pid_t pid = children[i];
            child_stop(&pid);
        }
}

void child_widen_pipe(int fd)
{
#ifdef F_SETPIPE_SZ
    fcntl(fd, F_SETPIPE_SZ, PIPE_SIZE);
#else
    (void)fd;
#endif
}

static int make_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC))
        return fail("pipe: %s", strerror(errno));
    child_widen_pipe(ends[0]);
    return 0;
}

static void close_pipe(int ends[2])
{
    for (int i = 0; i < 2; i++)
        if (ends[i] >= 0)
            close(ends[i]);
}

extern char **environ;

/* Returns the environment without the variable of an offer, and with a new offer unless text is
 * NULL. The caller frees `*line` and the list. Returns NULL with a message if memory is out. */
static char **make_environment(const char *text, char **line)
{
    const char name[] = BORROWER_VARIABLE "=";
    size_t n = 0, kept = 0;
    while (environ[n])
        n++;
    char **list = calloc(n + 2, sizeof *list);
    *line = text ? malloc(sizeof name + strlen(text)) : NULL;
    if (!list || (text && !*line)) {
        free(list);
        free(*line);
        *line = NULL;
        return fail_null("out of memory");
    }
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], name, sizeof name - 1) != 0)
            list[kept++] = environ[i];
    if (text) {
        memcpy(*line, name, sizeof name - 1);
        strcpy(*line + sizeof name - 1, text);
        list[kept] = *line;
    }
    return list;
}

/* The child's side of an offer of shared memory. */
struct offer {
    int channel; /* the end that it inherits, or -1 */
    char **environment;
};

static int start(const char *command, pid_t *pid, int *in, int *out, const struct offer *offer)
{
    static bool registered;
    if (!registered)
        registered = atexit(stop_all) == 0;
    pid_t parent = getpid();
    *pid = fork();
    if (*pid < 0) {
        *pid = 0;
        return fail("exec:%s: %s", command, strerror(errno));
    }
    if (*pid == 0) {
        setpgid(0, 0);
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (getppid() != parent)
            _exit(127);
#else
        (void)parent;
#endif
        signals_reset();
        if (in[0] < 0) /* the child must not read the program's stdin */
            in[0] = open("/dev/null", O_RDONLY);
        if (dup2(in[0], 0) < 0 || (out[1] >= 0 && dup2(out[1], 1) < 0))
            _exit(127);
        if (offer->channel >= 0)
            fcntl(offer->channel, F_SETFD, 0);
        execle("/bin/sh", "sh", "-c", command, (char *)NULL, offer->environment);
        _exit(127);
    }
    setpgid(*pid, *pid); /* in parent and child, so that it holds whichever runs first */
    remember(0, *pid);
    return 0;
}

/* Makes the channel between the ends of the pipes. Without one, nothing is offered. */
static void make_channel(const int *in, const int *out, int *channel, char *text)
{
    struct fail_note note;
    fail_save(&note);
    if (shared_memory_channel(channel))
        channel[0] = channel[1] = -1;
    else if (borrower_describe(text, channel[1], in[0], out[1])) {
        close_pipe(channel);
        channel[0] = channel[1] = -1;
    }
    fail_restore(&note);
}

/* Starts the command; to, from and channel may be NULL. */
static int start_command(const char *command, pid_t *pid, int *to, int *from, int *channel)
{
    int in[2] = {-1, -1}, out[2] = {-1, -1}, ends[2] = {-1, -1};
    char text[BORROWER_TEXT], *line = NULL;
    if ((to && make_pipe(in)) || (from && make_pipe(out))) {
        close_pipe(in);
        return -1;
    }
    if (channel)
        make_channel(in, out, ends, text);
    char **environment = make_environment(ends[1] >= 0 ? text : NULL, &line);
    const struct offer offer = {ends[1], environment};
    const int bad = environment ? start(command, pid, in, out, &offer) : -1;
    free(environment);
    free(line);
    if (bad) {
        close_pipe(in);
        close_pipe(out);
        close_pipe(ends);
        return bad;
    }
    if (to) {
        close(in[0]);
        *to = in[1];
    }
    if (from) {
        close(out[1]);
        *from = out[0];
    }
    if (ends[1] >= 0)
        close(ends[1]);
    if (channel)
        *channel = ends[0];
    return 0;
}

int child_start(const char *command, pid_t *pid, int *to, int *from)
{
    return start_command(command, pid, to, from, NULL);
}

int child_start_sharing(const char *command, pid_t *pid, int *to, int *from, int *channel)
{
    return start_command(command, pid, to, from, channel);
}

int child_wait(pid_t *pid, double seconds)
{
    double deadline = clock_now() + seconds;
    for (long pause = 200000;; pause = pause < 20000000 ? pause * 2 : pause) {
        int status;
        pid_t done = waitpid(*pid, &status, WNOHANG);
        if (done == *pid) {
            remember(*pid, 0);
            *pid = 0;
            if (WIFSIGNALED(status))
                return fail("was killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
            if (WEXITSTATUS(status))
                return fail("exited with status %d", WEXITSTATUS(status));
            return 0;
        }
        if (done < 0 && errno != EINTR)
            return fail("waitpid: %s", strerror(errno));
        if (clock_now() >= deadline)
            return fail("did not exit within %g s", seconds);
        nanosleep(&(struct timespec){0, pause}, NULL);
    }
}

void child_stop(pid_t *pid)
{
    struct fail_note note;
    fail_save(&note);
    static const int signals[] = {SIGTERM, SIGKILL};
    for (size_t i = 0; i < 2 && *pid > 0; i++) {
        kill(-*pid, signals[i]);
        child_wait(pid, 2);
    }
    fail_restore(&note);
}

/* Returns true if the child has exited. It stays a zombie, so its group keeps its number. */
static bool has_exited(pid_t pid)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == pid;
}

int child_finish(pid_t *pid, double seconds)
{
    const double deadline = clock_now() + seconds;
    for (long pause = 200000; !has_exited(*pid) && clock_now() < deadline;
         pause = pause < 20000000 ? pause * 2 : pause) {
        if (stop_check())
            return -1;
        nanosleep(&(struct timespec){0, pause}, NULL);
    }
    if (!has_exited(*pid))
        return fail("did not exit within %g s", seconds);
    kill(-*pid, SIGKILL);
    return child_wait(pid, 2);
}

void child_stop_group(pid_t *pid, int from)
{
    struct fail_note note;
    fail_save(&note);
    const double deadline = clock_now() + 2;
    kill(-*pid, SIGTERM);
    for (;;) {
        struct pollfd end = {from, 0, 0};
        const bool closed = from < 0 || (poll(&end, 1, 0) > 0 && (end.revents & POLLHUP));
        if ((closed && has_exited(*pid)) || clock_now() >= deadline)
            break;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    kill(-*pid, SIGKILL);
    child_wait(pid, 2);
    fail_restore(&note);
}
