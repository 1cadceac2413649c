#include "run/run_cost.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/clock.h"
#include "base/fail.h"
#include "base/grow.h"
#include "base/regular_file.h"
#include "run/run.h"

enum { MOST_BYTES = 16 << 20, PROGRAMS_MAX = 64 };
static const double write_every = 10;
static const char header[] = "attempt\tbegun\tfrom_step\tseconds\tprocess\tprogram\tuser\tsystem\n";

struct cpu {
    double user, system;
};

struct run_cost {
    char *path, *before; /* `before` holds the rows of earlier attempts */
    int64_t attempt, from_step, begun;
    double start, written; /* by clock_now() */
    struct account {       /* of a process of the run */
        char *name;
        pid_t pid;
        struct cpu children; /* of the descendants that have ended and were waited for */
    } * accounts;
    int64_t n_accounts, accounts_capacity;
    struct sampled { /* a process, or a descendant of one */
        pid_t owner, pid;
        unsigned long long born;
        char program[32];
        struct cpu own;
    } * processes;
    int64_t n_processes, processes_capacity;
};

/* ---- earlier attempts ---- */

/* Returns the number of the attempt that the row belongs to, or 0 if it is none of this file. */
static long long attempt_of(const char *line)
{
    long long attempt, from;
    double begun, seconds, user, system;
    char process[256], program[256];
    int end = 0;
    return sscanf(line, "%lld\t%lf\t%lld\t%lf\t%255[^\t\n]\t%255[^\t\n]\t%lf\t%lf%n", &attempt,
                  &begun, &from, &seconds, process, program, &user, &system, &end) == 8 &&
                   !line[end] && attempt > 0 && attempt < 1000000000
               ? attempt
               : 0;
}

/* Keeps the sound rows of the file in c->before, and sets c->attempt to the next number. */
static void read_before(struct run_cost *c)
{
    char *text, *line, *to = c->before;
    c->attempt = 1;
    if (access(c->path, F_OK) || regular_file_text(c->path, MOST_BYTES, &text))
        return;
    char *rest = text;
    to = c->before = malloc(strlen(text) + 1);
    while (to && (line = strsep(&rest, "\n"))) {
        const long long attempt = rest ? attempt_of(line) : 0;
        if (!attempt)
            continue;
        c->attempt = attempt >= c->attempt ? attempt + 1 : c->attempt;
        to += sprintf(to, "%s\n", line);
    }
    if (to)
        *to = 0;
    free(text);
}

struct run_cost *run_cost_new(const char *folder, int64_t from_step)
{
    struct fail_note note;
    struct run_cost *c = calloc(1, sizeof *c);
    if (!c)
        return fail_null("out of memory for the cost of a run");
    *c = (struct run_cost){.path = run_path(folder, "cost.tsv"),
                           .from_step = from_step,
                           .begun = (int64_t)time(NULL),
                           .start = clock_now(),
                           .written = clock_now()};
    fail_save(&note);
    read_before(c);
    fail_restore(&note);
    return c;
}

void run_cost_add(struct run_cost *c, const char *name, pid_t pid)
{
    struct account *grown =
        grow(c->accounts, c->n_accounts, &c->accounts_capacity, sizeof *c->accounts);
    char *copy = grown ? strndup(name, 200) : NULL;
    if (grown)
        c->accounts = grown;
    if (!copy)
        return;
    for (char *at = copy; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = ' ';
    c->accounts[c->n_accounts++] = (struct account){.name = copy, .pid = pid};
}

/* ---- samples ---- */

static struct sampled *find_process(struct run_cost *c, const struct proc_stat *p)
{
    for (int64_t i = 0; i < c->n_processes; i++)
        if (c->processes[i].pid == p->pid && c->processes[i].born == p->born)
            return &c->processes[i];
    struct sampled *grown =
        grow(c->processes, c->n_processes, &c->processes_capacity, sizeof *c->processes);
    if (!grown)
        return NULL;
    c->processes = grown;
    c->processes[c->n_processes] = (struct sampled){.pid = p->pid, .born = p->born};
    return &c->processes[c->n_processes++];
}

static void write_file(struct run_cost *c);

void run_cost_sample(struct run_cost *c, const struct proc_stat *all, int n, const pid_t *owner)
{
    for (int i = 0; i < n; i++) {
        struct sampled *s = owner[i] ? find_process(c, &all[i]) : NULL;
        if (!s)
            continue;
        s->owner = owner[i];
        s->own = (struct cpu){all[i].user, all[i].system};
        snprintf(s->program, sizeof s->program, "%s", all[i].name);
        for (int64_t j = 0; j < c->n_accounts; j++)
            if (c->accounts[j].pid == all[i].pid)
                c->accounts[j].children =
                    (struct cpu){all[i].children_user, all[i].children_system};
    }
    if (clock_now() - c->written >= write_every)
        write_file(c);
}

/* ---- the file ---- */

struct program_cost {
    const char *program;
    struct cpu cpu;
    bool descendant; /* it is not the process itself */
};

/* Sums up the samples of an account by program. Returns the number of programs, of which there is
 * room for one more. */
static int sum_up(const struct run_cost *c, const struct account *a,
                  struct program_cost programs[PROGRAMS_MAX])
{
    int n = 0;
    for (int64_t i = 0; i < c->n_processes; i++) {
        const struct sampled *s = &c->processes[i];
        const bool descendant = s->pid != a->pid;
        if (s->owner != a->pid)
            continue;
        int at = 0;
        while (at < n && (strcmp(programs[at].program, s->program) != 0 ||
                          programs[at].descendant != descendant))
            at++;
        if (at == PROGRAMS_MAX - 1)
            continue;
        if (at == n)
            programs[n++] = (struct program_cost){s->program, {0, 0}, descendant};
        programs[at].cpu.user += s->own.user;
        programs[at].cpu.system += s->own.system;
    }
    return n;
}

/* Raises the sums of the descendants to what those that have ended are known to have taken. If all
 * ended before a sample, adds them as one program. Returns the number of programs. */
static int complete(struct program_cost *programs, int n, struct cpu known)
{
    struct cpu sampled = {0, 0};
    for (int i = 0; i < n; i++) {
        sampled.user += programs[i].descendant ? programs[i].cpu.user : 0;
        sampled.system += programs[i].descendant ? programs[i].cpu.system : 0;
    }
    for (int i = 0; i < n; i++) {
        if (!programs[i].descendant)
            continue;
        if (sampled.user > 0 && known.user > sampled.user)
            programs[i].cpu.user *= known.user / sampled.user;
        if (sampled.system > 0 && known.system > sampled.system)
            programs[i].cpu.system *= known.system / sampled.system;
    }
    if (n && sampled.user + sampled.system <= 0 && known.user + known.system > 0)
        programs[n++] = (struct program_cost){"its children", known, true};
    return n;
}

static void write_rows(const struct run_cost *c, FILE *file)
{
    for (int64_t i = 0; i < c->n_accounts; i++) {
        struct program_cost programs[PROGRAMS_MAX];
        const int n =
            complete(programs, sum_up(c, &c->accounts[i], programs), c->accounts[i].children);
        for (int j = 0; j < n; j++) {
            char name[sizeof c->processes->program];
            snprintf(name, sizeof name, "%s", programs[j].program);
            fail_clean(name);
            fprintf(file, "%lld\t%lld\t%lld\t%.1f\t%s\t%s\t%.2f\t%.2f\n", (long long)c->attempt,
                    (long long)c->begun, (long long)c->from_step, clock_now() - c->start,
                    c->accounts[i].name, name, programs[j].cpu.user, programs[j].cpu.system);
        }
    }
}

/* Rewrites the file. A failure is not reported: the disk may be full, and the run goes on. */
static void write_file(struct run_cost *c)
{
    struct fail_note note;
    struct atomic_file out;
    fail_save(&note);
    c->written = clock_now();
    if (!atomic_file_open(&out, c->path)) {
        fputs(header, out.file);
        if (c->before)
            fputs(c->before, out.file);
        write_rows(c, out.file);
        if (ferror(out.file))
            atomic_file_abandon(&out);
        else
            atomic_file_commit(&out);
    }
    fail_restore(&note);
}

void run_cost_end(struct run_cost *c)
{
    if (!c)
        return;
    write_file(c);
    for (int64_t i = 0; i < c->n_accounts; i++)
        free(c->accounts[i].name);
    free(c->accounts);
    free(c->processes);
    free(c->path);
    free(c->before);
    free(c);
}
