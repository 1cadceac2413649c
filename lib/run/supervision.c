#include "run/supervision.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/stop.h"
#include "base/warn.h"
#include "run/log_tail.h"
#include "run/run.h"
#include "run/run_state.h"

enum { LINES_SHOWN = 20, LONGEST_PAUSE = 32 };

/* Prints how to resume the run. */
static int stopped(const char *folder)
{
    struct run_state s;
    if (run_state_read(folder, &s))
        warn_line("%s", fail_message());
    else if (s.saved)
        warn_line("stopped after %" PRId64 " steps; --resume --run %s goes on", s.step, folder);
    else
        warn_line("stopped before a state was saved");
    return SUPERVISION_STOPPED;
}

static void pause_for(double seconds)
{
    for (const double until = clock_now() + seconds; clock_now() < until && !stop_requested();)
        usleep(50000);
}

/* Returns true if the file is no longer the same as before. The metrics log of a run that makes
 * steps grows or is replaced. */
static bool has_changed(const char *path, const struct stat *before)
{
    struct stat now = {0};
    if (stat(path, &now))
        return false;
    return now.st_ino != before->st_ino || now.st_size != before->st_size ||
           now.st_mtim.tv_sec != before->st_mtim.tv_sec ||
           now.st_mtim.tv_nsec != before->st_mtim.tv_nsec;
}

struct supervision {
    const struct attempt *attempt;
    int64_t restarts;
    const char *log, *metrics; /* paths of files */
    int64_t failures;          /* in a row without a new state */
    bool first;                /* no attempt has failed yet */
};

/* Makes one attempt and counts a failure. If steps were made before a failure, the failure may be
 * accidental, and another attempt may succeed. If the first attempt makes no step, no other will.
 * Returns the same as attempt_run(). */
static int make_attempt(struct supervision *s)
{
    const char *folder = s->attempt->run;
    struct run_state before, after;
    struct stat rows = {0};
    const int64_t logged = log_tail_size(s->log);
    stat(s->metrics, &rows);
    if (run_state_read(folder, &before))
        return -1;
    const int result = attempt_run(s->attempt, before.step, before.saved);
    if (result != ATTEMPT_FAILED || stop_requested())
        return result;
    warn_line("%s; the stages said:", fail_message());
    log_tail_show(s->log, logged, LINES_SHOWN);
    if (run_state_read(folder, &after))
        return -1;
    if (after.saved && (!before.saved || after.step != before.step))
        s->failures = 1;
    else if (s->first && !has_changed(s->metrics, &rows))
        s->failures = s->restarts + 1;
    else
        s->failures++;
    s->first = false;
    return ATTEMPT_FAILED;
}

static int make_attempts(struct supervision *s)
{
    for (;;) {
        const int result = make_attempt(s);
        if (result != ATTEMPT_FAILED)
            return result < 0 ? -1 : SUPERVISION_DONE;
        if (stop_requested())
            return stopped(s->attempt->run);
        if (s->failures > s->restarts) {
            warn_line("%s has it all, %s/commands.sh what was run", s->log, s->attempt->run);
            return SUPERVISION_GAVE_UP;
        }
        const int pause = s->failures < 6 ? 1 << (s->failures - 1) : LONGEST_PAUSE;
        warn_line("again in %d s, from the last state (%" PRId64 " of %" PRId64 ")", pause,
                  s->failures, s->restarts);
        pause_for(pause);
        if (stop_requested())
            return stopped(s->attempt->run);
    }
}

int supervision_run(const struct attempt *attempt, int64_t restarts)
{
    char *log = run_path(attempt->run, "log.txt"), *metrics = run_path(attempt->run, "metrics.tsv");
    struct supervision s = {attempt, restarts, log, metrics, .first = true};
    const int result = make_attempts(&s);
    free(log);
    free(metrics);
    return result;
}
