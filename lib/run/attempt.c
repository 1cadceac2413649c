#include "run/attempt.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/stop.h"
#include "run/process_set.h"
#include "run/run_cost.h"
#include "run/run_folder.h"

/* Seconds between checks for stopped processes. Then seconds that the preparation may take, and
 * that a process may take to end after it was asked to stop. */
static const double look_every = 1, patience = 30;

static int set_variable(const char *name, const char *value)
{
    return setenv(name, value, 1) ? fail_memory(NULL) : 0;
}

static int set_environment(const char *sockets, int64_t start, bool resume)
{
    uint64_t number;
    char id[32], step[32];
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return fail("no random number: %s", strerror(errno));
    snprintf(id, sizeof id, "%016" PRIx64, number);
    snprintf(step, sizeof step, "%" PRId64, start);
    return set_variable("SIMCLR_SOCKETS", sockets) || set_variable("SIMCLR_RUN", id) ||
           set_variable("SIMCLR_START", step) ||
           set_variable("SIMCLR_RESUME", resume ? "--resume" : "");
}

static int open_in(const char *folder, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return fail_memory(NULL);
    const int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC, 0666);
    struct stat st;
    int bad = fd < 0 ? fail("%s: %s", path, strerror(errno)) : 0;
    if (!bad && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
        bad = fail("%s: not a regular file", path);
        close(fd);
    }
    free(path);
    return bad ? -1 : fd;
}

/* Appends the attempt to commands.sh, from which a person can run it by hand. */
static int write_commands(const struct attempt *a)
{
    const int fd = open_in(a->run, "commands.sh");
    FILE *file = fd < 0 ? NULL : fdopen(fd, "a");
    if (!file)
        return fd < 0 ? -1 : fail("%s/commands.sh: %s", a->run, strerror(errno));
    char when[64];
    const time_t now = time(NULL);
    struct tm local;
    strftime(when, sizeof when, "%F %T", localtime_r(&now, &local));
    fprintf(file, "# %s, from step %s\n", when, getenv("SIMCLR_START"));
    static const char *const names[] = {"SIMCLR_SOCKETS", "SIMCLR_RUN", "SIMCLR_START",
                                        "SIMCLR_RESUME"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        fprintf(file, "export %s='", names[i]);
        for (const char *c = getenv(names[i]); *c; c++)
            if (*c == '\'')
                fputs("'\\''", file);
            else
                putc(*c, file);
        fputs("'\n", file);
    }
    fputs("mkdir -p -m 700 \"$SIMCLR_SOCKETS\"\n", file);
    if (*a->first)
        fprintf(file, "( %s )\n", a->first);
    for (int i = 0; i < a->n; i++)
        fprintf(file, "# %s:\n( %s ) &\n", a->processes[i].name, a->processes[i].command);
    return fclose(file) ? fail("%s/commands.sh: %s", a->run, strerror(errno)) : 0;
}

/* Runs the command that must succeed before the processes start. Returns the same as attempt_run().
 */
static int prepare(const struct attempt *a, struct process_set *set, int log)
{
    const double until = clock_now() + patience;
    enum process_set_event event = PROCESS_SET_NONE;
    if (process_set_start(set, "preparation", a->first, log, log))
        return -1;
    while (event == PROCESS_SET_NONE && !stop_requested() && clock_now() < until)
        event = process_set_wait(set, look_every);
    if (event == PROCESS_SET_NONE)
        fail("the preparation did not end within %g s", patience);
    return event == PROCESS_SET_ENDED ? ATTEMPT_DONE : ATTEMPT_FAILED;
}

static int start_all(const struct attempt *a, struct process_set *set, int log)
{
    for (int i = 0; i < a->n; i++) {
        const struct attempt_process *p = &a->processes[i];
        const bool shown = !strcmp(p->name, a->shown);
        if (process_set_start(set, p->name, p->command, log, shown ? STDERR_FILENO : log))
            return -1;
    }
    return 0;
}

/* Waits until all processes have ended, one has failed or been stopped, or one that was asked to
 * stop does not. Returns an enum attempt_result. */
static int watch(const struct attempt *a, struct process_set *set)
{
    double asked = 0, looked = clock_now();
    while (process_set_running(set)) {
        const enum process_set_event event = process_set_wait(set, look_every);
        if (event == PROCESS_SET_FAILED)
            return ATTEMPT_FAILED;
        if (event == PROCESS_SET_ENDED) {
            /* Others may end at once: what they took is asked now. */
            if (process_set_look(set, a->timeout))
                return ATTEMPT_FAILED;
            continue;
        }
        if (stop_requested() && asked == 0) {
            asked = clock_now();
            process_set_signal(set, a->asked, SIGTERM);
        }
        if (asked > 0 && clock_now() - asked > patience) {
            fail("the %s did not stop within %g s", a->asked, patience);
            return ATTEMPT_FAILED;
        }
        if (clock_now() - looked >= look_every) {
            looked = clock_now();
            if (process_set_look(set, a->timeout))
                return ATTEMPT_FAILED;
        }
    }
    return ATTEMPT_DONE;
}

static int run_processes(const struct attempt *a, const struct private_folder *folder,
                         int64_t start)
{
    const int log = open_in(a->run, "log.txt");
    struct process_set *set = log < 0 ? NULL : process_set_new(folder->path);
    int result = -1;
    if (set)
        result = *a->first ? prepare(a, set, log) : ATTEMPT_DONE;
    if (result == ATTEMPT_DONE)
        process_set_account(set, run_cost_new(a->run, start));
    if (result == ATTEMPT_DONE)
        result = start_all(a, set, log) ? -1 : watch(a, set);
    process_set_end(set);
    if (log >= 0)
        close(log);
    return result;
}

int attempt_run(const struct attempt *a, int64_t start, bool resume)
{
    struct private_folder folder;
    if (private_folder_make(&folder, a->run, a->lock))
        return -1;
    int result = -1;
    if (!set_environment(folder.path, start, resume) && !write_commands(a))
        result = run_processes(a, &folder, start);
    private_folder_remove(&folder);
    return result;
}
