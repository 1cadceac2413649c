#include "program/optimizer_settings.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fail.h"
#include "base/shortest.h"
#include "base/warn.h"
#include "program/optimizer_options.h"

/* ---- of the run ---- */

static const struct {
    const char *key, *what, *why;
} described[RUN_SETTINGS] = {
    {"images", "images", "the data changed, or --limit, --hold or --labels"},
    {"batch", "images in a batch", "--batch changed"},
    {"grains", "grains", "--grains or --batch changed"},
    {"steps_per_epoch", "steps in an epoch", "the data or --batch changed"},
};

static int read_run(const struct frame *f, struct run_settings *s)
{
    for (int i = 0; i < RUN_SETTINGS; i++)
        if (frame_meta_int(f, described[i].key, -1, &s->values[i]))
            return -1;
    return 0;
}

void optimizer_settings_init(struct optimizer_settings *s, const char *path,
                             const struct option_spec *flags)
{
    *s = (struct optimizer_settings){.path = path, .flags = flags};
    for (int i = 0; i < RUN_SETTINGS; i++)
        s->run.values[i] = s->resumed.values[i] = -1;
}

int optimizer_settings_check(const struct optimizer_settings *s, const struct frame *request)
{
    struct run_settings now;
    if (read_run(request, &now))
        return -1;
    for (int i = 0; i < RUN_SETTINGS; i++)
        if (s->resumed.values[i] >= 0 && now.values[i] >= 0 &&
            now.values[i] != s->resumed.values[i])
            return fail("%s: made with %" PRId64 " %s, and this run has %" PRId64
                        ": %s; resume with what it was made with, or start a new run",
                        s->path, s->resumed.values[i], described[i].what, now.values[i],
                        described[i].why);
    return 0;
}

int optimizer_settings_take(struct optimizer_settings *s, const struct frame *request, int64_t step,
                            int64_t steps)
{
    struct run_settings now;
    if (optimizer_settings_check(s, request) || read_run(request, &now))
        return -1;
    for (int i = 0; i < RUN_SETTINGS; i++)
        if (now.values[i] >= 0)
            s->run.values[i] = now.values[i];
    if (steps <= step)
        return fail("step %" PRId64 " of a run of %" PRId64 " steps: give more --steps", step,
                    steps);
    if (s->resumed_steps && steps != s->resumed_steps) {
        warn_line("%s: the schedule is now of %" PRId64 " steps, where it was of %" PRId64, s->path,
                  steps, s->resumed_steps);
        s->resumed_steps = steps;
    }
    return 0;
}

/* ---- of the optimizer ---- */

/* Prints one flag's value, or "" if it has none. A switch that notes whether it was given has none if
 * it was not; so a flag of a later version leaves states as they were. */
static void print_value(const struct option_spec *o, char *text, size_t size)
{
    assert(size >= SHORTEST_TEXT);
    *text = 0;
    if (o->kind == OPTION_SWITCH && o->given && !*o->given)
        return;
    if (o->kind == OPTION_SWITCH)
        snprintf(text, size, "%s", *(const bool *)o->value ? "yes" : "no");
    else if (o->kind == OPTION_CHOICE)
        snprintf(text, size, "%s", *(const char *const *)o->value);
    else if (o->kind == OPTION_INT && *(const int64_t *)o->value >= (int64_t)o->min)
        snprintf(text, size, "%" PRId64, *(const int64_t *)o->value);
    else if (o->kind == OPTION_DOUBLE && *(const double *)o->value >= o->min)
        shortest_print(text, *(const double *)o->value);
}

/* Returns flag number i, or NULL after the last. The program's own flags come first, then those of
 * the learning rate, which end at the heading "state". */
static const struct option_spec *flag_at(const struct optimizer_settings *settings, int i)
{
    const struct option_spec *const tables[] = {settings->flags, optimizer_option_specs};
    for (int t = 0; t < 2; t++)
        for (const struct option_spec *s = tables[t];
             s && (s->name || (s->kind == OPTION_HEADING && strcmp(s->help, "state"))); s++)
            if (s->name && i-- == 0)
                return s;
    return NULL;
}

/* Writes the flags that have a value as one text: "momentum=0.9 weight-decay=0.0001 ...". */
void optimizer_settings_write(const struct optimizer_settings *s, struct frame *state)
{
    char text[2048] = "";
    size_t length = 0;
    const struct option_spec *flag;
    for (int i = 0; (flag = flag_at(s, i)); i++) {
        char value[64];
        print_value(flag, value, sizeof value);
        if (*value && length < sizeof text)
            length += (size_t)snprintf(text + length, sizeof text - length, "%s%s=%s",
                                       length ? " " : "", flag->name, value);
    }
    frame_set_meta(state, "settings", text);
    for (int i = 0; i < RUN_SETTINGS; i++)
        if (s->run.values[i] >= 0)
            frame_set_meta_int(state, described[i].key, s->run.values[i]);
}

/* Copies the value of a flag from such a text, or "" if the text lacks it. */
static void find_value(const char *text, const char *name, char *value, size_t size)
{
    const size_t n = strlen(name);
    *value = 0;
    for (const char *at = text; *at; at += strcspn(at, " "), at += *at == ' ')
        if (!strncmp(at, name, n) && at[n] == '=') {
            snprintf(value, size, "%.*s", (int)strcspn(at + n + 1, " "), at + n + 1);
            return;
        }
}

static int compare_flags(const struct optimizer_settings *s, const char *then)
{
    const struct option_spec *flag;
    for (int i = 0; (flag = flag_at(s, i)); i++) {
        char now[64], was[64];
        print_value(flag, now, sizeof now);
        find_value(then, flag->name, was, sizeof was);
        if (strcmp(now, was))
            return fail("%s: made with --%s %s, and now it is %s: resume with what it was made "
                        "with, or start a new run",
                        s->path, flag->name, *was ? was : "not given", *now ? now : "not given");
    }
    return 0;
}

int optimizer_settings_resume(struct optimizer_settings *s, const struct frame *state,
                              int64_t steps)
{
    const char *flags = frame_meta(state, "settings");
    s->resumed_steps = steps;
    if (read_run(state, &s->resumed))
        return fail_prefix("%s", s->path);
    s->run = s->resumed;
    if (flags)
        return compare_flags(s, flags);
    warn_line("%s: does not say what it was made with: its settings are not compared", s->path);
    return 0;
}
