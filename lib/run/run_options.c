#include "run/run_options.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/grow.h"
#include "base/regular_file.h"

enum { OPTIONS_BYTES_MAX = 1 << 20, OPTIONS_MAX = 256 };

void run_options_free(struct run_options *o)
{
    for (int i = 0; i < o->n; i++) {
        free(o->items[i].name);
        free(o->items[i].value);
    }
    free(o->items);
    *o = (struct run_options){0};
}

static struct run_option *find(const struct run_options *o, const char *name)
{
    for (int i = 0; i < o->n; i++)
        if (!strcmp(o->items[i].name, name))
            return &o->items[i];
    return NULL;
}

const char *run_options_get(const struct run_options *o, const char *name)
{
    const struct run_option *item = find(o, name);
    return item ? item->value : NULL;
}

static int add(struct run_options *o, const char *name, const char *value)
{
    struct run_option *items = grow(o->items, o->n, &o->capacity, sizeof *items);
    if (items)
        o->items = items;
    struct run_option item = {strdup(name), strdup(value)};
    if (!items || !item.name || !item.value) {
        free(item.name);
        free(item.value);
        return fail_memory(NULL);
    }
    items[o->n++] = item;
    return 0;
}

int run_options_set(struct run_options *o, const char *name, const char *value)
{
    struct run_option *item = find(o, name);
    if (!item)
        return value ? add(o, name, value) : 0;
    free(item->value);
    if (!value) {
        free(item->name);
        const size_t after = (size_t)(o->items + o->n - item - 1);
        memmove(item, item + 1, after * sizeof *item);
        o->n--;
        return 0;
    }
    return (item->value = strdup(value)) ? 0 : fail_memory(NULL);
}

/* ---- reading ---- */

struct reader {
    const char *path;
    char *at; /* the rest of a text, which is divided into strings in place */
    int line;
};

static int damaged(const struct reader *r, const char *what)
{
    return fail("%s: line %d: %s", r->path, r->line, what);
}

/* Reads an option's name, and replaces each underscore, as earlier versions wrote it, by a dash.
 * The name ends at `end`, a blank or `=`; before an empty value it may also end at a blank or at
 * the end of the line. Returns NULL if there is no name. */
static char *take_name(struct reader *r, char end)
{
    char *name = r->at, *at = name;
    for (; islower((unsigned char)*at) || *at == '-' || *at == '_'; at++)
        if (*at == '_')
            *at = '-';
    r->at = at;
    return at > name && (*at == end || (end == ' ' && (!*at || *at == '\n'))) ? name : NULL;
}

/* Reads a value up to the end of the line. In it \\ stands for a backslash and \n for a newline.
 * Returns NULL if another character follows a backslash. */
static char *take_line(struct reader *r)
{
    char *value = r->at, *to = value, *at = value;
    for (; *at && *at != '\n'; at++) {
        if (*at != '\\') {
            *to++ = *at;
            continue;
        }
        at++;
        if (*at != '\\' && *at != 'n')
            return NULL;
        *to++ = *at == 'n' ? '\n' : '\\';
    }
    r->at = *at ? at + 1 : at;
    *to = 0;
    return value;
}

/* Reads a value in double quotes and a newline, as bash's `declare -p` writes it. Returns NULL if
 * there is none. */
static char *take_declared(struct reader *r)
{
    char *value = r->at + 1, *to = value, *at = value;
    if (*r->at != '"')
        return NULL;
    for (; *at && *at != '"'; at++) {
        if (*at == '\\' && at[1] && strchr("\"\\$`", at[1]))
            at++;
        else if (*at == '$' || *at == '`')
            return NULL;
        r->line += *at == '\n';
        *to++ = *at;
    }
    if (*at != '"' || (at[1] != '\n' && at[1]))
        return NULL;
    r->at = at[1] ? at + 2 : at + 1;
    *to = 0;
    return value;
}

static int take_option(struct reader *r, struct run_options *o)
{
    const bool dashes = r->at[0] == '-' && r->at[1] == '-';
    r->at += dashes ? 2 : 0;
    char *name = take_name(r, dashes ? ' ' : '=');
    if (!name)
        return damaged(r, "not an option of a run");
    char *end = r->at;
    r->at += *end == ' ' || *end == '=';
    char *value = dashes ? take_line(r) : take_declared(r);
    *end = 0;
    if (!value)
        return damaged(r, "the option's value cannot be read");
    if (o->n == OPTIONS_MAX)
        return damaged(r, "too many options");
    if (find(o, name))
        return damaged(r, "an option that is there twice");
    return add(o, name, value);
}

static int parse(struct run_options *o, char *text, const char *path)
{
    struct reader r = {path, text, 1};
    for (; *r.at; r.line++) {
        if (*r.at == '#' || *r.at == '\n')
            r.at += strcspn(r.at, "\n") + (strchr(r.at, '\n') != NULL);
        else if (take_option(&r, o))
            return -1;
    }
    return 0;
}

int run_options_read(struct run_options *o, const char *path)
{
    *o = (struct run_options){0};
    const bool standard = !strcmp(path, "-");
    const int fd = standard ? STDIN_FILENO : regular_file_open(path, NULL);
    if (fd < 0)
        return -1;
    char *text = malloc(OPTIONS_BYTES_MAX + 1);
    size_t n = 0;
    ssize_t got = 1;
    while (text && n < OPTIONS_BYTES_MAX && got > 0)
        if ((got = read(fd, text + n, OPTIONS_BYTES_MAX - n)) > 0)
            n += (size_t)got;
    int bad = 0;
    if (!text)
        bad = fail_memory(path);
    else if (got < 0)
        bad = fail("%s: %s", path, strerror(errno));
    else if (n == OPTIONS_BYTES_MAX)
        bad = fail("%s: larger than a run's options are", path);
    else if (memchr(text, 0, n))
        bad = fail("%s: holds a zero byte, which a run's options do not", path);
    else {
        text[n] = 0;
        bad = parse(o, text, path);
        if (!bad && !o->n)
            bad = fail("%s: holds no options of a run", path);
    }
    free(text);
    if (!standard)
        close(fd);
    if (bad)
        run_options_free(o);
    return bad;
}

/* ---- writing ---- */

int run_options_write(const struct run_options *o, const char *path)
{
    struct atomic_file file;
    if (atomic_file_open(&file, path))
        return -1;
    fputs("# What the run was started with. In a value, \\\\ is a backslash and \\n a newline.\n",
          file.file);
    for (int i = 0; i < o->n; i++) {
        fprintf(file.file, "--%s ", o->items[i].name);
        for (const char *c = o->items[i].value; *c; c++)
            if (*c == '\n')
                fputs("\\n", file.file);
            else if (*c == '\\')
                fputs("\\\\", file.file);
            else
                putc(*c, file.file);
        putc('\n', file.file);
    }
    return atomic_file_commit(&file);
}

/* ---- comparing ---- */

/* Returns true if the name is one of a list separated by blanks. */
static bool listed(const char *list, const char *name)
{
    const size_t length = strlen(name);
    for (const char *at = list; *at; at += strspn(at, " ")) {
        const size_t word = strcspn(at, " ");
        if (word == length && !strncmp(at, name, length))
            return true;
        at += word;
    }
    return false;
}

/* Returns the text after ` --threads N` at `at`, or NULL if there is no such flag. */
static const char *after_threads(const char *at)
{
    static const char flag[] = " --threads";
    const size_t length = strlen(flag);
    if (strncmp(at, flag, length) || (at[length] != ' ' && at[length] != '='))
        return NULL;
    at += length + 1;
    const size_t digits = strspn(at, "0123456789");
    return digits && (!at[digits] || at[digits] == ' ') ? at + digits : NULL;
}

/* Returns true if the commands are equal except for the number of threads, which does not change
 * any bit of the results. */
static bool is_same_command(const char *a, const char *b)
{
    for (;; a++, b++) {
        const char *next;
        while ((next = after_threads(a)))
            a = next;
        while ((next = after_threads(b)))
            b = next;
        if (*a != *b || !*a)
            return *a == *b;
    }
}

/* Returns true if `now` is a larger number than `before`. If `before` is 0, which means that it was
 * not set, `now` must be at least `steps`. */
static bool is_raised(const char *before, const char *now, long long steps)
{
    char *end_before, *end_now;
    const long long a = strtoll(before, &end_before, 10), b = strtoll(now, &end_now, 10);
    if (end_before == before || *end_before || end_now == now || *end_now)
        return false;
    return a ? b > a : steps > 0 && b >= steps;
}

static bool is_none(const char *value)
{
    return !*value || !strcmp(value, "0");
}

int run_options_compare(const struct run_options *before, struct run_options *now,
                        const struct run_changes *changes, long long steps, const char *folder,
                        void (*report)(const char *name, const char *before, const char *now),
                        int *raised)
{
    *raised = 0;
    for (int i = 0; i < now->n; i++) {
        const char *name = now->items[i].name, *value = now->items[i].value;
        const char *old = run_options_get(before, name);
        if (listed(changes->free, name) || (old ? !strcmp(old, value) : is_none(value)) ||
            (old && listed(changes->commands, name) && is_same_command(old, value)))
            continue;
        if (!old)
            return fail("%s was started without --%s; leave it out, or begin another run with "
                        "another --run",
                        folder, name);
        if (!listed(changes->raised, name))
            return fail("%s was started with --%s %.200s, not %.200s; leave it out, or begin "
                        "another run with another --run",
                        folder, name, old, value);
        if (!is_raised(old, value, steps))
            return fail("%s was started with --%s %s, not %s; it may only be raised", folder, name,
                        old, value);
        ++*raised;
        if (report)
            report(name, old, value);
    }
    for (int i = 0; i < before->n; i++)
        if (!find(now, before->items[i].name) &&
            run_options_set(now, before->items[i].name, before->items[i].value))
            return -1;
    return 0;
}
