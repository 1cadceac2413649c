/* supervise: runs the processes of a training run, in a folder that it has for itself, again and
 * again until they come to the end. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/signals.h"
#include "base/stop.h"
#include "base/warn.h"
#include "cli/options.h"
#include "run/attempt.h"
#include "run/crew.h"
#include "run/log_tail.h"
#include "run/run.h"
#include "run/run_state.h"

static const char *tell = "", *then = "", *as = "supervise";
static struct run run = {.folder = "", .options = "", .changes = {"", "", ""}};
static struct attempt attempt = {
    .first = "", .asked = "optimizer", .shown = "progress", .timeout = 60};
static int64_t restarts = 3;

static const struct option_spec options[] = {
    {"run", OPTION_STRING, &run.folder, "PATH", "the run's folder; it is made if it is not there",
     0, 0, 0, 0},
    {"resume", OPTION_SWITCH, &run.resume, 0, "go on with the run that is there", 0, 0, 0, 0},
    {"restarts", OPTION_INT, &restarts, "N",
     "failed attempts without a new state before it gives up", 0, 1e9, 0, 0},
    {"timeout", OPTION_DOUBLE, &attempt.timeout, "SECONDS", "how long a process may be stopped",
     0.01, 1e6, 0, 0},
    {"first", OPTION_STRING, &attempt.first, "CMD", "run before the processes; without: nothing", 0,
     0, 0, 0},
    {"ask", OPTION_STRING, &attempt.asked, "NAME",
     "the process that ends the run when it gets SIGTERM", 0, 0, 0, 0},
    {"show", OPTION_STRING, &attempt.shown, "NAME", "the process whose stderr is not for the log",
     0, 0, 0, 0},
    {"then", OPTION_STRING, &then, "CMD", "run when the model is there; without: nothing", 0, 0, 0,
     0},
    {"name", OPTION_STRING, &as, "NAME", "what messages begin with", 0, 0, 0, 0},
    {0},
};
static const struct option_spec settings[] = {
    {.kind = OPTION_HEADING, .help = "what the run was started with"},
    {"options", OPTION_STRING, &run.options, "FILE", "its options, to be kept; - for stdin", 0, 0,
     0, 0},
    {"free", OPTION_STRING, &run.changes.free, "LIST", "those that may differ when it goes on", 0,
     0, 0, 0},
    {"raise", OPTION_STRING, &run.changes.raised, "LIST", "those that may become larger numbers", 0,
     0, 0, 0},
    {"commands", OPTION_STRING, &run.changes.commands, "LIST",
     "those that are commands, whose --threads may differ", 0, 0, 0, 0},
    {"tell", OPTION_CHOICE, &tell, 0, "print what is known instead of running", 0, 0,
     "options|state", 0},
    {0},
};

static const char details[] =
    "Each WORD is NAME=CMD, a process that runs /bin/sh -c CMD; each is needed. What they say\n"
    "goes to DIR/log.txt, what was run to DIR/commands.sh. When one fails all end, and all\n"
    "start again from the step of DIR/state.safetensors. SIGTERM and SIGINT are passed on to\n"
    "one of them, the optimizer, which saves its state; the others then find it gone.\n"
    "\n"
    "CMD finds in its environment SIMCLR_SOCKETS, a folder for sockets and FIFOs, SIMCLR_START,\n"
    "the first step, SIMCLR_RUN, the ID of the attempt's links, and SIMCLR_RESUME: --resume if\n"
    "there is a state, else empty.\n"
    "\n"
    "  supervise --run runs/mine --first 'mkfifo \"$SIMCLR_SOCKETS/views\"' \\\n"
    "      optimizer='exec lars --listen \"ipc://$SIMCLR_SOCKETS/optimizer\" $SIMCLR_RESUME ...' "
    "\\\n"
    "      augment='exec augment --start $SIMCLR_START ... >\"$SIMCLR_SOCKETS/views\"' ...";

/* A line on stderr. */
#define say(...) warn_line(__VA_ARGS__)

/* ---- attempts ---- */

static int exit_status(int number)
{
    return 128 + number;
}

/* Shows the part of the log that follows its first `before` bytes. */
static void report(const char *failed, int64_t before)
{
    char *log = run_path(run.folder, "log.txt");
    say("%s; the stages said:", failed);
    log_tail_show(log, before, 20);
    free(log);
}

static int stopped(void)
{
    struct run_state s;
    if (run_state_read(run.folder, &s))
        warn_failure();
    else if (s.saved)
        say("stopped after %" PRId64 " steps; --resume --run %s goes on", s.step, run.folder);
    else
        say("stopped before a state was saved");
    return exit_status(stop_requested());
}

static void sleep_for(double seconds)
{
    for (const double until = clock_now() + seconds; clock_now() < until && !stop_requested();)
        usleep(50000);
}

static int conclude(void)
{
    if (run_check_end(&run))
        return warn_failure();
    printf("%s: the model is %s/model.safetensors\n", as, run.folder);
    if (!fflush(stdout))
        return 0;
    say("stdout: cannot be written to");
    return 1;
}

/* Whether the file is another than before, as the log of a run that makes steps is. */
static bool has_grown(const char *path, const struct stat *before)
{
    struct stat now = {0};
    if (stat(path, &now))
        return false;
    return now.st_ino != before->st_ino || now.st_size != before->st_size ||
           now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
}

/* How often in a row an attempt has come to no other state. A failure may be chance where steps
 * were made before it; where none was made, none will be. */
static int64_t count_failures(int64_t failures, bool other_state, bool no_step)
{
    return other_state ? 1 : no_step ? restarts + 1 : failures + 1;
}

static int make_attempts(const char *log, const char *metrics)
{
    char failed[1024];
    int64_t failures = 0;
    for (bool first = true;; first = false) {
        struct run_state before, after;
        struct stat rows = {0};
        const int64_t said = log_tail_size(log);
        stat(metrics, &rows);
        if (run_state_read(run.folder, &before))
            return warn_failure();
        const int result = attempt_run(&attempt, before.step, before.saved, failed, sizeof failed);
        if (result < 0)
            return warn_failure();
        if (result == 0)
            return conclude();
        if (stop_requested())
            return stopped();
        report(failed, said);
        if (run_state_read(run.folder, &after))
            return warn_failure();
        failures =
            count_failures(failures, after.saved && (!before.saved || after.step != before.step),
                           first && !has_grown(metrics, &rows));
        if (failures > restarts) {
            say("%s has it all, %s/commands.sh what was run", log, run.folder);
            return 1;
        }
        const int pause = 1 << (failures < 6 ? failures - 1 : 5);
        say("again in %d s, from the last state (%" PRId64 " of %" PRId64 ")", pause, failures,
            restarts);
        sleep_for(pause);
        if (stop_requested())
            return stopped();
    }
}

static int run_to_the_end(void)
{
    char *log = run_path(run.folder, "log.txt"), *metrics = run_path(run.folder, "metrics.tsv");
    const int status = make_attempts(log, metrics);
    free(log);
    free(metrics);
    return status;
}

/* Runs --then when the model is there, and returns its status. */
static int run_then(void)
{
    char failed[1024] = "";
    unsetenv("SIMCLR_RUN"); /* which are of training */
    unsetenv("SIMCLR_EDGES");
    struct crew *crew = crew_new(NULL);
    if (!crew || crew_start(crew, "conclusion", then, STDOUT_FILENO, STDERR_FILENO)) {
        crew_end(crew);
        return warn_failure();
    }
    while (!stop_requested() && crew_running(crew))
        crew_wait(crew, 1, failed, sizeof failed);
    crew_end(crew);
    if (stop_requested())
        return exit_status(stop_requested());
    if (*failed)
        say("%s", failed);
    return *failed ? 1 : 0;
}

/* ---- arguments ---- */

static void take_processes(int n, char **words)
{
    attempt.processes = calloc((size_t)n + 1, sizeof *attempt.processes);
    if (!attempt.processes)
        options_reject("out of memory");
    for (int i = 0; i < n; i++) {
        char *equals = strchr(words[i], '=');
        if (!equals || equals == words[i] || !equals[1])
            options_reject("'%.64s' is not NAME=CMD", words[i]);
        *equals = 0;
        for (int j = 0; j < i; j++)
            if (!strcmp(attempt.processes[j].name, words[i]))
                options_reject("two processes are called %.64s", words[i]);
        attempt.processes[attempt.n++] = (struct attempt_process){words[i], equals + 1};
    }
}

int main(int argc, char **argv)
{
    const struct program program = {
        .name = "supervise",
        .summary =
            "run the processes of a training run, again and again, until they come to its end",
        .details = details,
        .options = {options, settings},
    };
    int operand;
    signals_setup();
    options_parse(&program, argc, argv, &operand);
    warn_set_name(as);
    attempt.run = run.folder;
    if (!*run.folder)
        options_reject("--run PATH is missing");
    if (*tell)
        return (strcmp(tell, "state") ? run_tell_options(run.folder) : run_tell_state(run.folder))
                   ? warn_failure()
                   : 0;
    take_processes(argc - operand, argv + operand);
    if (!attempt.n)
        options_reject("no process is named");

    int64_t steps;
    const int found = run_open(&run, &steps);
    if (found < 0)
        return warn_failure();
    if (found)
        printf("%s: %s is complete: %" PRId64 " steps\n", as, run.folder, steps);
    fflush(stdout);
    attempt.lock = run.lock;
    const int status = found ? 0 : run_to_the_end();
    if (status == 1 && run_take_back(&run))
        return warn_failure();
    return status || !*then ? status : run_then();
}
