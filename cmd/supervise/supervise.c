/* supervise: locks the folder of a training run, runs the processes of the run, and restarts them
 * after a failure until the run is complete. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/signals.h"
#include "base/stop.h"
#include "base/warn.h"
#include "cli/options.h"
#include "run/attempt.h"
#include "run/process_set.h"
#include "run/run.h"
#include "run/supervision.h"

static const char *tell = "", *then = "", *as = "supervise";
static struct training_run run = {.folder = "", .options = "", .changes = {"", "", ""}};
static struct attempt attempt = {
    .first = "", .asked = "optimizer", .shown = "progress", .timeout = 60};
static int64_t restarts = 3;

static const struct option_spec options[] = {
    {"run", OPTION_STRING, &run.folder, "PATH",
     "the run's folder; it is created if it does not exist", 0, 0, 0, 0},
    {"resume", OPTION_SWITCH, &run.resume, 0, "resume the run that the folder holds", 0, 0, 0, 0},
    {"restarts", OPTION_INT, &restarts, "N",
     "restarts in a row without a new state before it gives up", 0, 1e9, 0, 0},
    {"timeout", OPTION_DOUBLE, &attempt.timeout, "SECONDS", "how long a process may be stopped",
     0.01, 1e6, 0, 0},
    {"first", OPTION_STRING, &attempt.first, "CMD",
     "command that must succeed before the processes start; without: none", 0, 0, 0, 0},
    {"ask", OPTION_STRING, &attempt.asked, "NAME", "the process that gets SIGTERM to stop the run",
     0, 0, 0, 0},
    {"show", OPTION_STRING, &attempt.shown, "NAME",
     "the process whose stderr is shown instead of logged", 0, 0, 0, 0},
    {"then", OPTION_STRING, &then, "CMD",
     "command that runs once the model is there; without: none", 0, 0, 0, 0},
    {"name", OPTION_STRING, &as, "NAME", "name that messages begin with", 0, 0, 0, 0},
    {0},
};
static const struct option_spec settings[] = {
    {.kind = OPTION_HEADING, .help = "options that the run was started with"},
    {"options", OPTION_STRING, &run.options, "FILE",
     "the run's options, stored in its folder; - for stdin", 0, 0, 0, 0},
    {"free", OPTION_STRING, &run.changes.free, "LIST",
     "options that may differ when the run is resumed", 0, 0, 0, 0},
    {"raise", OPTION_STRING, &run.changes.raised, "LIST", "options that may become larger numbers",
     0, 0, 0, 0},
    {"commands", OPTION_STRING, &run.changes.commands, "LIST",
     "options that are commands, whose --threads may differ", 0, 0, 0, 0},
    {"tell", OPTION_CHOICE, &tell, 0,
     "print what the folder, or FILE of --options, holds instead of running", 0, 0, "options|state",
     0},
    {0},
};

static const char details[] =
    "Each WORD is NAME=CMD: a process that runs /bin/sh -c CMD. The run needs all of them. Their\n"
    "output goes to DIR/log.txt, and the commands to DIR/commands.sh. When a process fails, all\n"
    "others are ended, and all start again from the step of DIR/state.safetensors. SIGTERM and\n"
    "SIGINT are passed on to one process, the optimizer, which saves its state; the others then\n"
    "end because it is gone.\n"
    "\n"
    "CMD finds in its environment SIMCLR_SOCKETS, a folder for sockets and FIFOs; SIMCLR_START,\n"
    "the first step; SIMCLR_RUN, an ID for the links of this attempt; and SIMCLR_RESUME, which\n"
    "is --resume if there is a state, else empty.\n"
    "\n"
    "  supervise --run runs/mine --first 'mkfifo \"$SIMCLR_SOCKETS/views\"' \\\n"
    "      optimizer='exec lars --listen \"ipc://$SIMCLR_SOCKETS/optimizer\" $SIMCLR_RESUME ...' "
    "\\\n"
    "      augment='exec augment --start $SIMCLR_START ... >\"$SIMCLR_SOCKETS/views\"' ...";

/* ---- arguments ---- */

/* Reads the words NAME=CMD into attempt.processes. */
static void parse_processes(int n, char **words)
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

/* ---- the run ---- */

static int exit_status(int number)
{
    return 128 + number;
}

/* Checks that the run is complete, and prints the path of its model. */
static int conclude(void)
{
    if (run_check_complete(&run))
        return warn_failure();
    printf("%s: the model is %s/model.safetensors\n", as, run.folder);
    if (!fflush(stdout))
        return 0;
    warn_line("stdout: cannot be written to");
    return 1;
}

/* Runs the processes until the run is complete. Returns the exit status. */
static int train(void)
{
    int status = 1;
    switch (supervision_run(&attempt, restarts)) {
    case SUPERVISION_DONE:
        status = conclude();
        break;
    case SUPERVISION_STOPPED:
        return exit_status(stop_requested());
    case SUPERVISION_GAVE_UP:
        break;
    default:
        warn_failure();
    }
    return status && run_restore_options(&run) ? warn_failure() : status;
}

/* Runs --then, and returns the exit status. */
static int run_then(void)
{
    enum process_set_event event = PROCESS_SET_NONE;
    unsetenv("SIMCLR_RUN"); /* these two are only for training */
    unsetenv("SIMCLR_EDGES");
    struct process_set *set = process_set_new(NULL);
    if (!set || process_set_start(set, "conclusion", then, STDOUT_FILENO, STDERR_FILENO)) {
        process_set_end(set);
        return warn_failure();
    }
    while (!stop_requested() && event == PROCESS_SET_NONE)
        event = process_set_wait(set, 1);
    process_set_end(set);
    if (stop_requested())
        return exit_status(stop_requested());
    return event == PROCESS_SET_FAILED ? warn_failure() : 0;
}

static void parse(int argc, char **argv)
{
    const struct program program = {
        .name = "supervise",
        .summary = "run the processes of a training run, and restart them until it is complete",
        .details = details,
        .options = {options, settings},
    };
    int operand;
    options_parse(&program, argc, argv, &operand);
    warn_set_name(as);
    attempt.run = run.folder;
    if (!*run.folder && !(*run.options && !strcmp(tell, "options")))
        options_reject("--run PATH is missing");
    if (*tell)
        return;
    parse_processes(argc - operand, argv + operand);
    if (!attempt.n)
        options_reject("no process is named");
}

int main(int argc, char **argv)
{
    signals_setup();
    parse(argc, argv);
    if (*tell) {
        const bool state = !strcmp(tell, "state");
        const int bad =
            state ? run_print_state(run.folder) : run_print_options(run.folder, run.options);
        return bad ? warn_failure() : 0;
    }

    int64_t steps;
    const int found = run_open(&run, &steps);
    if (found < 0)
        return warn_failure();
    if (found == RUN_COMPLETE)
        printf("%s: %s is complete: %" PRId64 " steps\n", as, run.folder, steps);
    fflush(stdout);
    attempt.lock = run.lock;
    const int status = found == RUN_COMPLETE ? 0 : train();
    return status || !*then ? status : run_then();
}
