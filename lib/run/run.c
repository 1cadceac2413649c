#include "run/run.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/warn.h"
#include "run/run_folder.h"
#include "run/run_state.h"

static const double patience = 60; /* seconds to wait for processes of an earlier run */
/* This module's own option holds the step at which a complete run was made longer. */
static const char raised_at[] = "raised-at";

char *run_path(const char *folder, const char *name)
{
    char *path;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        abort(); /* without a few bytes nothing useful can follow */
    return path;
}

/* Returns true if all steps are made, and the run has not been made longer since. */
static bool is_at_end(const struct run_state *s, const struct run_options *o)
{
    const char *raised = run_options_get(o, raised_at);
    return s->saved && s->steps > 0 && s->step >= s->steps &&
           !(raised && strtoll(raised, NULL, 10) == s->step);
}

/* ---- the beginning ---- */

static void report_raised(const char *name, const char *before, const char *now)
{
    warn_line("--%s is %s now, after %s", name, now, before);
}

/* Reads the options and, if the run is resumed, checks them against those in the folder. */
static int take_options(struct training_run *r, const char *path, const struct run_state *s,
                        struct run_options *now)
{
    int raised = 0;
    int bad = *r->options ? run_options_read(now, r->options) : 0;
    if (!bad && r->resume)
        bad = run_options_read(&r->before, path) ||
              run_options_compare(&r->before, now, &r->changes, s->steps, r->folder, report_raised,
                                  &raised);
    char step[32];
    snprintf(step, sizeof step, "%" PRId64, s->step);
    if (!bad && raised && is_at_end(s, &r->before))
        bad = run_options_set(now, raised_at, step);
    return bad ? -1 : 0;
}

/* Writes the model of a complete run from its state, unless the model exists. */
static int renew_model(const char *folder, const char *model)
{
    if (!run_state_check_file(model))
        return 0;
    if (run_state_export(folder))
        return -1;
    warn_line("%s was missing or damaged, and is made anew from the state", model);
    return 0;
}

static int open_folder(struct training_run *r, const char *options, const char *model,
                       struct run_options *now, int64_t *steps)
{
    struct run_state s;
    if (r->resume && access(options, F_OK))
        return fail("%s: no run to resume", options);
    r->lock = run_folder_lock(r->folder, patience);
    if (r->lock < 0 || run_state_read(r->folder, &s))
        return -1;
    if (!r->resume && (s.saved || !access(model, F_OK)))
        return fail("%s holds a run already; --resume goes on with it, another --run starts anew",
                    r->folder);
    if (take_options(r, options, &s, now))
        return -1;
    run_folder_sweep(r->folder);
    if (*r->options && run_options_write(now, options))
        return -1;
    *steps = r->step = s.step;
    if (!is_at_end(&s, now))
        return RUN_INCOMPLETE;
    return renew_model(r->folder, model) ? -1 : RUN_COMPLETE;
}

int run_open(struct training_run *r, int64_t *steps)
{
    char *options = run_path(r->folder, "options"),
         *model = run_path(r->folder, "model.safetensors");
    struct run_options now = {0};
    const int result = open_folder(r, options, model, &now, steps);
    run_options_free(&now);
    free(options);
    free(model);
    return result;
}

/* ---- the end ---- */

int run_restore_options(struct training_run *r)
{
    struct run_state s;
    if (r->before.n == 0 || !*r->options)
        return 0;
    if (run_state_read(r->folder, &s))
        return -1;
    if (s.saved && s.step != r->step)
        return 0;
    char *options = run_path(r->folder, "options");
    const int result = run_options_write(&r->before, options);
    free(options);
    return result;
}

/* Removes this module's own option, because the longer run is now complete. */
static int forget_raise(const char *path)
{
    struct run_options o;
    if (run_options_read(&o, path))
        return -1;
    const bool there = run_options_get(&o, raised_at);
    const int bad = there && (run_options_set(&o, raised_at, NULL) || run_options_write(&o, path));
    run_options_free(&o);
    return bad ? -1 : 0;
}

int run_check_complete(const struct training_run *r)
{
    char *options = run_path(r->folder, "options"),
         *model = run_path(r->folder, "model.safetensors");
    struct run_state s;
    int bad = run_state_read(r->folder, &s) || run_state_check_file(model);
    if (!bad && s.saved && s.step < s.steps)
        bad = fail("all processes have ended, and %s has made %" PRId64 " of %" PRId64 " steps",
                   r->folder, s.step, s.steps);
    if (!bad && *r->options)
        bad = forget_raise(options);
    free(options);
    free(model);
    return bad ? -1 : 0;
}

/* ---- for scripts ---- */

static int flushed(void)
{
    return fflush(stdout) ? fail("stdout: cannot be written to") : 0;
}

int run_print_options(const char *folder, const char *file)
{
    char *path = run_path(folder, "options");
    struct run_options o;
    const int bad = run_options_read(&o, *file ? file : path);
    for (int i = 0; !bad && i < o.n; i++)
        printf("%s%c%s%c", o.items[i].name, 0, o.items[i].value, 0);
    run_options_free(&o);
    free(path);
    return bad ? -1 : flushed();
}

int run_print_state(const char *folder)
{
    char *model = run_path(folder, "model.safetensors"), *path = run_path(folder, "options");
    struct run_state s;
    struct run_options o = {0};
    const int bad =
        run_state_read(folder, &s) || (!access(path, F_OK) && run_options_read(&o, path));
    if (!bad && !s.saved)
        puts("none");
    else if (!bad)
        printf("%" PRId64 " %" PRId64 " %s\n", s.step, s.steps,
               is_at_end(&s, &o) && !run_state_check_file(model) ? "complete" : "incomplete");
    run_options_free(&o);
    free(model);
    free(path);
    return bad ? -1 : flushed();
}
