/* progress: shows the progress of a training run, and passes its frames on. */
#include <string.h>
#include <unistd.h>

#include "base/signals.h"
#include "base/warn.h"
#include "cli/options.h"
#include "link/link.h"
#include "link/stream.h"
#include "program/link_options.h"
#include "report/event_log.h"
#include "report/metrics_log.h"
#include "report/progress_bar.h"
#include "report/watch.h"

static const char *in = "-", *out = "-", *log_path = "", *events_path = "";

static const struct option_spec options[] = {
    {"in", OPTION_STRING, &in, "ENDPOINT", "where the frames come from", 0, 0, 0, 0},
    {"out", OPTION_STRING, &out, "ENDPOINT", "where they go; never to a terminal", 0, 0, 0, 0},
    {"log", OPTION_STRING, &log_path, "FILE",
     "append a row for each frame: a table, or lines of JSON if FILE ends in .jsonl", 0, 0, 0, 0},
    {"tensorboard", OPTION_STRING, &events_path, "PATH",
     "the folder of event files for TensorBoard; each start adds one", 0, 0, 0, 0},
    {0},
};

static const char details[] =
    "Reads metrics frames and shows step, epoch, loss, contrastive accuracy, learning rate,\n"
    "views a second and the time left: a bar on a terminal, plain lines elsewhere. The frames\n"
    "are passed on unchanged, unless they would go to a terminal. In an existing log, rows at\n"
    "or after the first frame's step are replaced, so the log of a resumed run continues.\n"
    "TensorBoard, too, drops the points at or after the step at which an event file begins.\n"
    "Warns once if nothing is being learned: if z_std stays under 0.05 for 100 frames, or the\n"
    "loss within 1 % of ln(2B-1) for 200.\n"
    "\n"
    "  augment --data shapes | encode --next ... --opt ... | progress --log run/log.tsv\n"
    "  pipelines/train --progress 'progress --tensorboard runs/tb' & tensorboard --logdir runs/tb";

/* Where metrics are written; NULL if nowhere. */
struct logs {
    struct metrics_log *rows;
    struct event_log *events;
};

/* Shows one frame on the bar and appends it to the logs, which it opens for the first frame. */
static int take(struct progress_bar *bar, struct logs *logs, const struct frame *f)
{
    static struct watch watch;
    char warning[WATCH_LINE];
    if (progress_bar_update(bar, f) || watch_update(&watch, f, warning, sizeof warning))
        return -1;
    if (*warning) {
        progress_bar_break(bar);
        warn_line("%s", warning);
    }
    if (*log_path && !logs->rows && !(logs->rows = metrics_log_open(log_path, f)))
        return -1;
    if (*events_path && !logs->events && !(logs->events = event_log_open(events_path, f)))
        return -1;
    if (logs->rows && metrics_log_write(logs->rows, f))
        return -1;
    return logs->events ? event_log_write(logs->events, f) : 0;
}

/* Reads the source to its end and passes its frames on to `sink`, which may be NULL. */
static int follow(struct source *source, struct sink *sink, struct progress_bar *bar)
{
    struct logs logs = {0};
    struct frame *f;
    enum source_result got;
    while ((got = source_next(source, &f)) == SOURCE_FRAME) {
        if (take(bar, &logs, f)) {
            frame_free(f);
            break;
        }
        if (!sink)
            frame_free(f);
        else if (sink_write(sink, f))
            break;
    }
    const int rows = metrics_log_close(logs.rows), events = event_log_close(logs.events);
    return rows || events || got != SOURCE_END ? -1 : 0;
}

int main(int argc, char **argv)
{
    const struct program program = {
        .name = "progress",
        .summary = "show how a training run goes",
        .details = details,
        .options = {options, link_option_specs},
    };
    signals_setup();
    options_parse(&program, argc, argv, NULL);

    bool to_terminal = strcmp(out, "-") == 0 && isatty(STDOUT_FILENO);
    struct source *source = source_open(in, &link_options);
    struct sink *sink = source && !to_terminal ? sink_open(out, &link_options) : NULL;
    struct progress_bar *bar = source && (sink || to_terminal) ? progress_bar_new() : NULL;

    int result = bar ? follow(source, sink, bar) : -1;
    progress_bar_finish(bar);
    if (sink && result)
        sink_abandon(sink);
    else if (sink)
        result = sink_end(sink);
    if (source)
        source_close(source);
    return result ? warn_failure() : 0;
}
