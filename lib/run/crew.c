#include "run/crew.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/signals.h"
#include "base/stop.h"
#include "run/run_folder.h"

enum { CREW_MAX = 1024, HALTED_MAX = 256 };
static const double say_why = 1, say_goodbye = 5, tick = 0.1; /* seconds */

struct crew {
    struct member {
        char *name;
        pid_t pid; /* and the number of its group */
        bool running;
    } * members;
    int n;
    char *folder;
    pid_t guard;
    int to_guard; /* a pipe: the numbers of the groups */
    struct halted {
        pid_t pid;
        double seconds;
    } halted[HALTED_MAX]; /* processes that are stopped */
    int n_halted;
    double looked; /* when */
};

static void pause_for(double seconds)
{
    nanosleep(&(struct timespec){.tv_nsec = (long)(seconds * 1e9)}, NULL);
}

/* ---- the guard ---- */

static void signal_groups(const pid_t *groups, int n, int number)
{
    for (int i = 0; i < n; i++)
        kill(-groups[i], number);
}

static bool any_group(const pid_t *groups, int n)
{
    for (int i = 0; i < n; i++)
        if (!kill(-groups[i], 0))
            return true;
    return false;
}

/* SIGTERM, and SIGKILL for those that are there after a while. One that is stopped goes on to see
 * it. */
static void end_groups(const pid_t *groups, int n)
{
    static const int numbers[] = {SIGTERM, SIGKILL};
    for (size_t i = 0; i < 2 && any_group(groups, n); i++) {
        signal_groups(groups, n, numbers[i]);
        signal_groups(groups, n, SIGCONT);
        for (double left = say_goodbye; left > 0 && any_group(groups, n); left -= tick) {
            while (waitpid(-1, NULL, WNOHANG) > 0)
                continue;
            pause_for(tick);
        }
    }
}

/* Reads the numbers of groups until the program ends; one that ends well says 0 first. */
static _Noreturn void guard(int from, const char *folder)
{
    pid_t groups[CREW_MAX], number;
    int n = 0;
    ssize_t got;
    while ((got = read(from, &number, sizeof number)) == sizeof number ||
           (got < 0 && errno == EINTR)) {
        if (got < 0)
            continue;
        if (number == 0)
            _exit(0);
        if (n < CREW_MAX)
            groups[n++] = number;
    }
    end_groups(groups, n);
    struct private_folder f = {.path = folder ? strdup(folder) : NULL, .lock = -1};
    private_folder_remove(&f);
    _exit(0);
}

static void tell_guard(const struct crew *c, pid_t number)
{
    while (c->to_guard >= 0 && write(c->to_guard, &number, sizeof number) < 0 && errno == EINTR)
        continue;
}

static int start_guard(struct crew *c)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return fail("pipe: %s", strerror(errno));
    c->guard = fork();
    if (c->guard < 0) {
        close(ends[0]);
        close(ends[1]);
        return fail("fork: %s", strerror(errno));
    }
    if (c->guard == 0) {
        setpgid(0, 0);
        for (int number = 1; number < NSIG; number++)
            if (number != SIGCHLD)
                signal(number, SIG_IGN);
        const int none = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3; fd++) /* who reads the program's output waits for its end */
            dup2(none, fd);
        close(ends[1]);
        guard(ends[0], c->folder);
    }
    close(ends[0]);
    c->to_guard = ends[1];
    for (int i = 0; i < c->n; i++)
        tell_guard(c, c->members[i].pid);
    return 0;
}

static void end_guard(struct crew *c)
{
    tell_guard(c, 0);
    if (c->to_guard >= 0)
        close(c->to_guard);
    while (c->guard > 0 && waitpid(c->guard, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* ---- processes ---- */

static void on_child(int number)
{
    (void)number; /* it interrupts the pause */
}

struct crew *crew_new(const char *folder)
{
    struct crew *c = calloc(1, sizeof *c);
    struct sigaction action = {.sa_handler = on_child};
    sigaction(SIGCHLD, &action, NULL);
    if (c)
        c->to_guard = -1;
    if (!c || (folder && !(c->folder = strdup(folder))) ||
        !(c->members = calloc(CREW_MAX, sizeof *c->members))) {
        fail_memory(NULL);
    } else if (!start_guard(c)) {
        c->looked = clock_now();
        return c;
    }
    if (c)
        free(c->members);
    free(c ? c->folder : NULL);
    free(c);
    return NULL;
}

static _Noreturn void become(const char *command, pid_t parent, int out, int err)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(127);
    signals_reset();
    const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        _exit(127);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

int crew_start(struct crew *c, const char *name, const char *command, int out, int err)
{
    if (c->n == CREW_MAX)
        return fail("more than %d processes", CREW_MAX);
    const pid_t parent = getpid();
    struct member *m = &c->members[c->n];
    m->name = strdup(name);
    m->pid = m->name ? fork() : -1;
    if (m->pid < 0) {
        free(m->name);
        return fail("%s: %s", name, strerror(errno));
    }
    if (m->pid == 0) {
        /* above those that it becomes, wherever the program's own are */
        const int new_out = fcntl(out, F_DUPFD_CLOEXEC, 3),
                  new_err = fcntl(err, F_DUPFD_CLOEXEC, 3);
        become(command, parent, new_out, new_err);
    }
    setpgid(m->pid, m->pid); /* in both, so that it holds whoever runs first */
    m->running = true;
    c->n++;
    tell_guard(c, m->pid);
    return 0;
}

static void describe(const struct member *m, int status, char *failed, size_t size)
{
    *failed = 0;
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        snprintf(failed, size, "the %s was killed by %s%s", m->name, name ? "SIG" : "signal ",
                 name ? name : "?");
    } else if (WEXITSTATUS(status))
        snprintf(failed, size, "the %s exited with status %d", m->name, WEXITSTATUS(status));
}

/* Who has ended stays a zombie until crew_end(), so that the number of its group is not given to
 * another. */
static struct member *look_for_end(struct crew *c, int *status)
{
    for (int i = 0; i < c->n; i++) {
        struct member *m = &c->members[i];
        siginfo_t info = {0};
        if (!m->running || waitid(P_PID, (id_t)m->pid, &info, WEXITED | WNOHANG | WNOWAIT) ||
            info.si_pid != m->pid)
            continue;
        m->running = false;
        *status = info.si_code == CLD_EXITED ? info.si_status << 8 : info.si_status & 0x7f;
        return m;
    }
    return NULL;
}

int crew_wait(struct crew *c, double seconds, char *failed, size_t size)
{
    const double until = clock_now() + seconds;
    do {
        int status;
        const struct member *m = look_for_end(c, &status);
        if (m) {
            describe(m, status, failed, size);
            return 1;
        }
        if (c->guard > 0 && waitpid(c->guard, NULL, WNOHANG) == c->guard) { /* somebody killed it */
            close(c->to_guard);
            c->to_guard = -1;
            c->guard = 0;
            start_guard(c);
        }
        const double rest = until - clock_now();
        if (rest > 0)
            pause_for(rest < tick ? rest : tick);
    } while (clock_now() < until && !stop_requested());
    return 0;
}

int crew_running(const struct crew *c)
{
    int n = 0;
    for (int i = 0; i < c->n; i++)
        n += c->members[i].running;
    return n;
}

void crew_signal(const struct crew *c, const char *name, int number)
{
    for (int i = 0; i < c->n; i++)
        if (c->members[i].running && !strcmp(c->members[i].name, name))
            kill(c->members[i].pid, number);
}

/* ---- processes that are stopped ---- */

struct process {
    pid_t pid, parent, group;
    char state, name[32];
};

/* /proc/PID/stat: "PID (NAME) STATE PARENT GROUP ...", where NAME may hold anything. */
static bool read_process(const char *number, struct process *p)
{
    char path[sizeof "/proc//stat" + NAME_MAX], text[512];
    if (strspn(number, "0123456789") != strlen(number) || strlen(number) > 10)
        return false;
    snprintf(path, sizeof path, "/proc/%s/stat", number);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = 0;
    char *open = strchr(text, '('), *shut = strrchr(text, ')');
    if (!open || !shut || sscanf(shut + 1, " %c %d %d", &p->state, &p->parent, &p->group) != 3)
        return false;
    *shut = 0;
    snprintf(p->name, sizeof p->name, "%s", open + 1);
    p->pid = (pid_t)strtol(number, NULL, 10);
    return true;
}

static struct process *read_processes(int *n)
{
    struct process *all = NULL, *grown;
    int room = 0;
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    *n = 0;
    while (dir && (entry = readdir(dir))) {
        if (*n == room) {
            room = room ? 2 * room : 256;
            if (!(grown = realloc(all, (size_t)room * sizeof *all)))
                break;
            all = grown;
        }
        *n += read_process(entry->d_name, &all[*n]);
    }
    if (dir)
        closedir(dir);
    return all;
}

/* The member whose process it is, or one from which it descends; NULL: none. */
static const struct member *member_of(const struct crew *c, const struct process *all, int n,
                                      const struct process *p)
{
    for (int depth = 0; p && depth < 64; depth++) {
        for (int i = 0; i < c->n; i++)
            if (c->members[i].pid == p->group || c->members[i].pid == p->pid)
                return &c->members[i];
        const struct process *parent = NULL;
        for (int i = 0; !parent && i < n; i++)
            if (all[i].pid == p->parent)
                parent = &all[i];
        p = parent;
    }
    return NULL;
}

static double halted_before(const struct crew *c, pid_t pid)
{
    for (int i = 0; i < c->n_halted; i++)
        if (c->halted[i].pid == pid)
            return c->halted[i].seconds;
    return -1;
}

int crew_stopped(struct crew *c, double seconds)
{
    static const double most = 3; /* a look that comes later was late because we were stopped too */
    const double now = clock_now(), passed = now - c->looked < most ? now - c->looked : most;
    struct halted halted[HALTED_MAX];
    int n, n_halted = 0, found = 0;
    struct process *all = read_processes(&n);
    for (int i = 0; i < n && n_halted < HALTED_MAX; i++) {
        const struct member *m = all[i].state == 'T' ? member_of(c, all, n, &all[i]) : NULL;
        if (!m)
            continue;
        const double before = halted_before(c, all[i].pid);
        halted[n_halted] = (struct halted){all[i].pid, before < 0 ? 0 : before + passed};
        if (!found && halted[n_halted].seconds >= seconds) {
            found = 1;
            fail("the %s has been stopped for %g s (process %d, %s)", m->name, seconds,
                 (int)all[i].pid, all[i].name);
        }
        n_halted++;
    }
    memcpy(c->halted, halted, sizeof halted[0] * (size_t)n_halted);
    c->n_halted = n_halted;
    c->looked = now;
    free(all);
    return found;
}

/* ---- the end ---- */

void crew_end(struct crew *c)
{
    if (!c)
        return;
    char message[1024], ignored[64];
    snprintf(message, sizeof message, "%s", fail_message());
    const double until = clock_now() + say_why;
    while (crew_running(c) && clock_now() < until)
        crew_wait(c, tick, ignored, sizeof ignored);
    pid_t groups[CREW_MAX];
    for (int i = 0; i < c->n; i++)
        groups[i] = c->members[i].pid;
    end_groups(groups, c->n);
    end_guard(c);
    for (int i = 0; i < c->n; i++)
        free(c->members[i].name);
    free(c->members);
    free(c->folder);
    free(c);
    fail("%s", message);
}
