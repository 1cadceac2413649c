#include "report/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/flush.h"

static const char *const known[] = {
    "step", "epoch", "loss", "accuracy", "contrast_acc", "contrast_entropy", "lr", "views_per_s"};
static const char *const described[] = {"steps", "steps_per_epoch", "batch",  "grains",     "seq",
                                        "rank",  "world",           "crc32",  "kind",       "end",
                                        "run",   "classes",         "images", "class_names"};

static bool listed(const char *const *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i], key) == 0)
            return true;
    return false;
}
#define LISTED(list, key) listed(list, sizeof(list) / sizeof *(list), key)

void metrics_pass(struct frame *to, const struct frame *answer, const struct frame *request)
{
    for (int i = 0; i < answer->n_metas; i++) {
        const struct meta *m = &answer->metas[i];
        if (!LISTED(described, m->key) && !frame_meta(request, m->key))
            frame_set_meta(to, m->key, m->value);
    }
}

static void add_column(struct metrics_columns *c, const char *name)
{
    if (c->count < METRICS_MAX_COLUMNS && (c->names[c->count] = strdup(name)))
        c->count++;
}

void metrics_columns_of(const struct frame *first, struct metrics_columns *c)
{
    *c = (struct metrics_columns){0};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (frame_meta(first, known[i]))
            add_column(c, known[i]);
    for (int i = 0; i < first->n_metas; i++)
        if (!LISTED(known, first->metas[i].key) && !LISTED(described, first->metas[i].key))
            add_column(c, first->metas[i].key);
}

void metrics_columns_free(struct metrics_columns *c)
{
    for (int i = 0; i < c->count; i++)
        free(c->names[i]);
    c->count = 0;
}

static void write_cell(FILE *file, const char *text, char end)
{
    for (; *text; text++)
        putc((unsigned char)*text < ' ' || *text == 0x7f ? ' ' : *text, file);
    putc(end, file);
}

void metrics_write_header(FILE *file, const struct metrics_columns *c)
{
    for (int i = 0; i < c->count; i++)
        write_cell(file, c->names[i], i + 1 < c->count ? '\t' : '\n');
}

void metrics_write_row(FILE *file, const struct metrics_columns *c, const struct frame *f)
{
    for (int i = 0; i < c->count; i++) {
        const char *value = frame_meta(f, c->names[i]);
        write_cell(file, value ? value : "", i + 1 < c->count ? '\t' : '\n');
    }
}

struct metrics_log {
    FILE *file;
    char *path;
    struct metrics_columns columns;
    bool failed;
};

/* The columns of a table's header line; it must begin with step. */
static int parse_header(char *line, struct metrics_columns *c)
{
    line[strcspn(line, "\n")] = 0;
    for (char *name; (name = strsep(&line, "\t"));)
        add_column(c, name);
    return c->count && strcmp(c->names[0], "step") == 0 ? 0 : -1;
}

/* True for a whole row of a step before `first`. */
static bool is_kept(const char *line, ssize_t length, int64_t first)
{
    char *end;
    errno = 0;
    long long step = strtoll(line, &end, 10);
    return length && line[length - 1] == '\n' && end != line && (*end == '\t' || *end == '\n') &&
           !errno && step < first;
}

/* Writes the kept rows of the old table to the new one, with the old header if there are any. */
static int copy_rows(struct metrics_log *log, FILE *old, FILE *to, int64_t first)
{
    char *line = NULL;
    size_t room = 0;
    struct metrics_columns c = {0};
    int result = 0;
    bool kept = false;
    ssize_t length = getline(&line, &room, old);
    if (length > 0 && parse_header(line, &c))
        result =
            fail("%s: is there and is no log: its first line does not begin with step", log->path);
    while (length > 0 && !result && (length = getline(&line, &room, old)) > 0) {
        if (!is_kept(line, length, first))
            continue;
        if (!kept)
            metrics_write_header(to, &c);
        kept = true;
        fwrite(line, 1, (size_t)length, to);
    }
    if (!result && length < 0 && !feof(old))
        result = fail("%s: cannot be read to its end", log->path);
    free(line);
    if (kept) {
        metrics_columns_free(&log->columns);
        log->columns = c;
    } else {
        metrics_columns_free(&c);
        metrics_write_header(to, &log->columns);
    }
    return result;
}

static int rewrite(struct metrics_log *log, int64_t first)
{
    struct stat status; /* a FIFO or device has no old rows */
    const bool special = !stat(log->path, &status) && !S_ISREG(status.st_mode);
    FILE *old = special ? NULL : fopen(log->path, "re");
    if (!old && !special && errno != ENOENT)
        return fail("%s: %s", log->path, strerror(errno));
    struct atomic_file new;
    int result = atomic_file_open(&new, log->path);
    if (!result && old)
        result = copy_rows(log, old, new.file, first);
    else if (!result)
        metrics_write_header(new.file, &log->columns);
    if (old)
        fclose(old);
    if (!result)
        return atomic_file_commit(&new);
    if (new.file)
        atomic_file_abandon(&new);
    return -1;
}

struct metrics_log *metrics_log_open(const char *path, const struct frame *first)
{
    int64_t step;
    if (!frame_meta(first, "step")) {
        return fail_null("%s: frames without `step` cannot be logged", path);
    }
    if (frame_meta_int(first, "step", 0, &step))
        return NULL;
    struct metrics_log *log = calloc(1, sizeof *log);
    if (!log || !(log->path = strdup(path))) {
        free(log);
        fail_memory(path);
        return NULL;
    }
    metrics_columns_of(first, &log->columns);
    if (rewrite(log, step)) {
        metrics_log_close(log);
        return NULL;
    }
    log->file = fopen(path, "ae");
    if (!log->file) {
        fail("%s: %s", path, strerror(errno));
        metrics_log_close(log);
        return NULL;
    }
    return log;
}

int metrics_log_write(struct metrics_log *log, const struct frame *f)
{
    metrics_write_row(log->file, &log->columns, f);
    if (flush_file(log->file, log->path) == 0)
        return 0;
    log->failed = true; /* closing it fails again, with less to say */
    return -1;
}

int metrics_log_close(struct metrics_log *log)
{
    int result = 0;
    if (!log)
        return 0;
    if (log->file && fclose(log->file) && !log->failed)
        result = fail("%s: %s", log->path, strerror(errno));
    metrics_columns_free(&log->columns);
    free(log->path);
    free(log);
    return result;
}
