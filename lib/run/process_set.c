#include "run/process_set.h"

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
#include "run/proc_table.h"
#include "run/run_cost.h"
#include "run/run_folder.h"

enum { PROCESSES_MAX = 1024, STOPPED_MAX = 256 };
/* Times in seconds: how long processes may take to say why they end, how long they may take to end
 * after a signal, and how often this module checks. */
static const double explain_time = 1, end_time = 5, tick = 0.1;

struct process_set {
    struct member {
        char *name;
        pid_t pid; /* also the number of its process group */
        bool running;
    } * members; /* [PROCESSES_MAX], of which n are used */
    int n;
    char *folder; /* or NULL */
    pid_t guard;  /* 0 or less if there is none */
    int to_guard; /* a pipe for the numbers of the process groups; -1 if there is none */
    struct stopped_process {
        pid_t pid;
        double seconds; /* for how long it has been stopped */
    } stopped[STOPPED_MAX];
    int n_stopped;
    double looked;         /* time of the last process_set_look() */
    struct run_cost *cost; /* or NULL */
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

/* Sends SIGTERM to the process groups and, after a while, SIGKILL to those that are left. SIGCONT
 * follows each, since a stopped process would not see SIGTERM. */
static void end_groups(const pid_t *groups, int n)
{
    static const int numbers[] = {SIGTERM, SIGKILL};
    for (size_t i = 0; i < 2 && any_group(groups, n); i++) {
        signal_groups(groups, n, numbers[i]);
        signal_groups(groups, n, SIGCONT);
        for (double left = end_time; left > 0 && any_group(groups, n); left -= tick) {
            while (waitpid(-1, NULL, WNOHANG) > 0)
                continue;
            pause_for(tick);
        }
    }
}

/* The guard's main function: reads numbers of process groups until the program ends, and then ends
 * these groups and removes the folder. A program that needs no guard any more writes 0. */
static _Noreturn void guard(int from, const char *folder)
{
    pid_t groups[PROCESSES_MAX], number;
    int n = 0;
    ssize_t got;
    while ((got = read(from, &number, sizeof number)) == sizeof number ||
           (got < 0 && errno == EINTR)) {
        if (got < 0)
            continue;
        if (number == 0)
            _exit(0);
        if (n < PROCESSES_MAX)
            groups[n++] = number;
    }
    end_groups(groups, n);
    struct private_folder f = {.path = folder ? strdup(folder) : NULL, .lock = -1};
    private_folder_remove(&f);
    _exit(0);
}

static void tell_guard(const struct process_set *s, pid_t number)
{
    while (s->to_guard >= 0 && write(s->to_guard, &number, sizeof number) < 0 && errno == EINTR)
        continue;
}

static int start_guard(struct process_set *s)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return fail("pipe: %s", strerror(errno));
    s->guard = fork();
    if (s->guard < 0) {
        close(ends[0]);
        close(ends[1]);
        return fail("fork: %s", strerror(errno));
    }
    if (s->guard == 0) {
        setpgid(0, 0);
        for (int number = 1; number < NSIG; number++)
            if (number != SIGCHLD)
                signal(number, SIG_IGN);
        const int none = open("/dev/null", O_RDWR);
        for (int fd = 0; fd < 3; fd++) /* so that readers of the program's output see its end */
            dup2(none, fd);
        close(ends[1]);
        guard(ends[0], s->folder);
    }
    close(ends[0]);
    s->to_guard = ends[1];
    for (int i = 0; i < s->n; i++)
        tell_guard(s, s->members[i].pid);
    return 0;
}

static void end_guard(struct process_set *s)
{
    tell_guard(s, 0);
    if (s->to_guard >= 0)
        close(s->to_guard);
    while (s->guard > 0 && waitpid(s->guard, NULL, 0) < 0 && errno == EINTR)
        continue;
}

/* ---- processes ---- */

static void on_child(int number)
{
    (void)number; /* the signal only has to interrupt pause_for() */
}

struct process_set *process_set_new(const char *folder)
{
    struct process_set *s = calloc(1, sizeof *s);
    struct sigaction action = {.sa_handler = on_child};
    sigaction(SIGCHLD, &action, NULL);
    if (s)
        s->to_guard = -1;
    if (!s || (folder && !(s->folder = strdup(folder))) ||
        !(s->members = calloc(PROCESSES_MAX, sizeof *s->members))) {
        fail_memory(NULL);
    } else if (!start_guard(s)) {
        s->looked = clock_now();
        return s;
    }
    if (s)
        free(s->members);
    free(s ? s->folder : NULL);
    free(s);
    return NULL;
}

void process_set_account(struct process_set *s, struct run_cost *cost)
{
    s->cost = cost;
}

/* Turns the child into the command's shell. */
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

int process_set_start(struct process_set *s, const char *name, const char *command, int out,
                      int err)
{
    if (s->n == PROCESSES_MAX)
        return fail("more than %d processes", PROCESSES_MAX);
    const pid_t parent = getpid();
    struct member *m = &s->members[s->n];
    m->name = strdup(name);
    m->pid = m->name ? fork() : -1;
    if (m->pid < 0) {
        free(m->name);
        return fail("%s: %s", name, strerror(errno));
    }
    if (m->pid == 0) {
        /* These copies are above 2, so that dup2() in become() overwrites neither. */
        const int new_out = fcntl(out, F_DUPFD_CLOEXEC, 3),
                  new_err = fcntl(err, F_DUPFD_CLOEXEC, 3);
        become(command, parent, new_out, new_err);
    }
    setpgid(m->pid, m->pid); /* parent and child both do it, whichever runs first */
    m->running = true;
    s->n++;
    if (s->cost)
        run_cost_add(s->cost, name, m->pid);
    tell_guard(s, m->pid);
    return 0;
}

static enum process_set_event event_of(const struct member *m, int status)
{
    if (WIFSIGNALED(status)) {
        const char *name = sigabbrev_np(WTERMSIG(status));
        fail("the %s was killed by %s%s", m->name, name ? "SIG" : "signal ", name ? name : "?");
    } else if (WEXITSTATUS(status))
        fail("the %s exited with status %d", m->name, WEXITSTATUS(status));
    else
        return PROCESS_SET_ENDED;
    return PROCESS_SET_FAILED;
}

/* Returns a process that has ended since the last call, or NULL. It stays a zombie until
 * process_set_end(), so that the number of its process group is not given to another. */
static struct member *look_for_end(struct process_set *s, int *status)
{
    for (int i = 0; i < s->n; i++) {
        struct member *m = &s->members[i];
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

enum process_set_event process_set_wait(struct process_set *s, double seconds)
{
    const double until = clock_now() + seconds;
    do {
        int status;
        const struct member *m = look_for_end(s, &status);
        if (m)
            return event_of(m, status);
        if (s->guard > 0 && waitpid(s->guard, NULL, WNOHANG) == s->guard) { /* it was killed */
            close(s->to_guard);
            s->to_guard = -1;
            s->guard = 0;
            start_guard(s);
        }
        const double rest = until - clock_now();
        if (rest > 0)
            pause_for(rest < tick ? rest : tick);
    } while (clock_now() < until && !stop_requested());
    return PROCESS_SET_NONE;
}

int process_set_running(const struct process_set *s)
{
    int n = 0;
    for (int i = 0; i < s->n; i++)
        n += s->members[i].running;
    return n;
}

void process_set_signal(const struct process_set *s, const char *name, int number)
{
    for (int i = 0; i < s->n; i++)
        if (s->members[i].running && !strcmp(s->members[i].name, name))
            kill(s->members[i].pid, number);
}

/* ---- looking at the processes ---- */

/* Returns the member that the process is or descends from, or NULL. */
static const struct member *owner_of(const struct process_set *s, const struct proc_stat *all,
                                     int n, const struct proc_stat *p)
{
    for (int depth = 0; p && depth < 64; depth++) {
        for (int i = 0; i < s->n; i++)
            if (s->members[i].pid == p->group || s->members[i].pid == p->pid)
                return &s->members[i];
        p = proc_table_find(all, n, p->parent);
    }
    return NULL;
}

/* Adds what the processes have taken so far to the account, if there is one. */
static void sample_cost(const struct process_set *s, const struct proc_stat *all, int n)
{
    pid_t *owner = s->cost ? calloc((size_t)n + 1, sizeof *owner) : NULL;
    if (!owner)
        return;
    for (int i = 0; i < n; i++) {
        const struct member *m = owner_of(s, all, n, &all[i]);
        owner[i] = m ? m->pid : 0;
    }
    run_cost_sample(s->cost, all, n, owner);
    free(owner);
}

/* Returns the seconds for which the process had been stopped at the last check, or -1. */
static double stopped_before(const struct process_set *s, pid_t pid)
{
    for (int i = 0; i < s->n_stopped; i++)
        if (s->stopped[i].pid == pid)
            return s->stopped[i].seconds;
    return -1;
}

bool process_set_look(struct process_set *s, double seconds)
{
    static const double most = 3; /* if the last check is older, this program was stopped too */
    const double now = clock_now(), passed = now - s->looked < most ? now - s->looked : most;
    struct stopped_process stopped[STOPPED_MAX];
    int n, n_stopped = 0;
    bool found = false;
    struct proc_stat *all = proc_table_read(&n);
    sample_cost(s, all, n);
    for (int i = 0; i < n && n_stopped < STOPPED_MAX; i++) {
        const struct member *m = all[i].state == 'T' ? owner_of(s, all, n, &all[i]) : NULL;
        if (!m)
            continue;
        const double before = stopped_before(s, all[i].pid);
        stopped[n_stopped] = (struct stopped_process){all[i].pid, before < 0 ? 0 : before + passed};
        if (!found && stopped[n_stopped].seconds >= seconds) {
            found = true;
            fail("the %s has been stopped for %g s (process %d, %s)", m->name, seconds,
                 (int)all[i].pid, all[i].name);
        }
        n_stopped++;
    }
    memcpy(s->stopped, stopped, sizeof stopped[0] * (size_t)n_stopped);
    s->n_stopped = n_stopped;
    s->looked = now;
    free(all);
    return found;
}

/* ---- the end ---- */

/* Takes the last sample, while the processes that have ended are still in the table. */
static void end_account(struct process_set *s)
{
    int n;
    struct proc_stat *all = s->cost ? proc_table_read(&n) : NULL;
    if (all)
        sample_cost(s, all, n);
    free(all);
    run_cost_end(s->cost);
    s->cost = NULL;
}

void process_set_end(struct process_set *s)
{
    if (!s)
        return;
    struct fail_note note;
    fail_save(&note);
    const double until = clock_now() + explain_time;
    while (process_set_running(s) && clock_now() < until)
        process_set_wait(s, tick);
    end_account(s);
    pid_t groups[PROCESSES_MAX];
    for (int i = 0; i < s->n; i++)
        groups[i] = s->members[i].pid;
    end_groups(groups, s->n);
    end_guard(s);
    for (int i = 0; i < s->n; i++)
        free(s->members[i].name);
    free(s->members);
    free(s->folder);
    free(s);
    fail_restore(&note);
}
