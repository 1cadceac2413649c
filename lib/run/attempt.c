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
#include "run/crew.h"
#include "run/run_folder.h"

static const double look_every = 1, patience = 30; /* seconds */

static int set(const char *name, const char *value)
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
    return set("SIMCLR_SOCKETS", sockets) || set("SIMCLR_RUN", id) || set("SIMCLR_START", step) ||
           set("SIMCLR_RESUME", resume ? "--resume" : "");
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

/* For a person, who can run the same by hand. */
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

/* Runs the command that has to end well before the processes start. */
static int prepare(const struct attempt *a, struct crew *crew, int log, char *failed, size_t size)
{
    const double until = clock_now() + patience;
    if (crew_start(crew, "preparation", a->first, log, log))
        return -1;
    while (crew_running(crew) && !stop_requested() && clock_now() < until)
        crew_wait(crew, look_every, failed, size);
    if (crew_running(crew))
        snprintf(failed, size, "the preparation did not end within %g s", patience);
    return *failed ? 1 : 0;
}

static int start_all(const struct attempt *a, struct crew *crew, int log)
{
    for (int i = 0; i < a->n; i++) {
        const struct attempt_process *p = &a->processes[i];
        const bool shown = !strcmp(p->name, a->shown);
        if (crew_start(crew, p->name, p->command, log, shown ? STDERR_FILENO : log))
            return -1;
    }
    return 0;
}

/* Until all have ended, one has failed, or one that was asked to stop does not. */
static int watch(const struct attempt *a, struct crew *crew, char *failed, size_t size)
{
    double asked = 0, looked = clock_now();
    while (crew_running(crew)) {
        if (crew_wait(crew, look_every, failed, size)) {
            if (*failed)
                return 1;
            continue;
        }
        if (stop_requested() && asked == 0) {
            asked = clock_now();
            crew_signal(crew, a->asked, SIGTERM);
        }
        if (asked > 0 && clock_now() - asked > patience) {
            snprintf(failed, size, "the %s did not stop within %g s", a->asked, patience);
            return 1;
        }
        if (clock_now() - looked >= look_every) {
            looked = clock_now();
            if (crew_stopped(crew, a->timeout)) {
                snprintf(failed, size, "%s", fail_message());
                return 1;
            }
        }
    }
    return 0;
}

/* -1 could not begin. */
static int run_crew(const struct attempt *a, const struct private_folder *folder, char *failed,
                    size_t size)
{
    const int log = open_in(a->run, "log.txt");
    struct crew *crew = log < 0 ? NULL : crew_new(folder->path);
    int result = -1;
    if (crew)
        result = *a->first ? prepare(a, crew, log, failed, size) : 0;
    if (!result)
        result = start_all(a, crew, log) ? -1 : watch(a, crew, failed, size);
    crew_end(crew);
    if (log >= 0)
        close(log);
    return result;
}

int attempt_run(const struct attempt *a, int64_t start, bool resume, char *failed, size_t size)
{
    struct private_folder folder;
    *failed = 0;
    if (private_folder_make(&folder, a->run, a->lock))
        return -1;
    int result = -1;
    if (!set_environment(folder.path, start, resume) && !write_commands(a))
        result = run_crew(a, &folder, failed, size);
    private_folder_remove(&folder);
    return result;
}
