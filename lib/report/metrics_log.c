#include "report/metrics_log.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/flush.h"
#include "report/metrics.h"
#include "report/metrics_json.h"

struct metrics_log {
    FILE *file;
    char *path;
    bool json;                      /* lines of JSON instead of a table */
    struct metrics_columns columns; /* of the table */
    bool failed;                    /* a write failed, and its message has been left */
};

static bool ends_in(const char *path, const char *suffix)
{
    const size_t n = strlen(path), length = strlen(suffix);
    return n > length && !strcmp(path + n - length, suffix);
}

/* ---- old rows of a table ---- */

/* Reads the columns of a table's header line. Returns -1 if the first is not `step`. */
static int parse_header(char *line, struct metrics_columns *c)
{
    line[strcspn(line, "\n")] = 0;
    for (char *name; (name = strsep(&line, "\t"));)
        metrics_columns_add(c, name);
    return c->count && strcmp(c->names[0], "step") == 0 ? 0 : -1;
}

/* Returns true if the line is a complete row of a step before `first`. */
static bool is_kept(const char *line, ssize_t length, int64_t first)
{
    char *end;
    errno = 0;
    long long step = strtoll(line, &end, 10);
    return length && line[length - 1] == '\n' && end != line && (*end == '\t' || *end == '\n') &&
           !errno && step < first;
}

/* Copies the kept rows to the new table, after the old header. If there are none, writes a header
 * with the new columns. */
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

/* ---- old lines of JSON ---- */

/* Copies the lines of steps before `first` to the new file. A killed run may have left a first line
 * that is incomplete. */
static int copy_objects(struct metrics_log *log, FILE *old, FILE *to, int64_t first)
{
    char *line = NULL;
    size_t room = 0;
    int64_t step;
    int result = 0;
    ssize_t length;
    for (bool begun = false; !result && (length = getline(&line, &room, old)) > 0; begun = true) {
        const bool complete = line[length - 1] == '\n' && (size_t)length == strlen(line) &&
                              metrics_json_step(line, &step);
        if (complete && step < first)
            fwrite(line, 1, (size_t)length, to);
        if (!complete && !begun && (line[length - 1] == '\n' || !metrics_json_is_begun(line)))
            result =
                fail("%s: is there and is no log: its first line is no JSON object with a step",
                     log->path);
    }
    if (!result && !feof(old))
        result = fail("%s: cannot be read to its end", log->path);
    free(line);
    return result;
}

/* ---- opening and writing ---- */

/* Replaces the file by one with the old rows before step `first`, and the header of a table. */
static int rewrite(struct metrics_log *log, int64_t first)
{
    struct stat status; /* a FIFO or a device has no old rows */
    const bool special = !stat(log->path, &status) && !S_ISREG(status.st_mode);
    FILE *old = special ? NULL : fopen(log->path, "re");
    if (!old && !special && errno != ENOENT)
        return fail("%s: %s", log->path, strerror(errno));
    struct atomic_file new;
    int result = atomic_file_open(&new, log->path);
    if (!result && old)
        result = (log->json ? copy_objects : copy_rows)(log, old, new.file, first);
    else if (!result && !log->json)
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
    if (!frame_meta(first, "step"))
        return fail_null("%s: frames without `step` cannot be logged", path);
    if (frame_meta_int(first, "step", 0, &step))
        return NULL;
    struct metrics_log *log = calloc(1, sizeof *log);
    if (!log || !(log->path = strdup(path))) {
        free(log);
        fail_memory(path);
        return NULL;
    }
    log->json = ends_in(path, ".jsonl");
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
    if (!log->json)
        metrics_write_row(log->file, &log->columns, f);
    else if (metrics_json_write(log->file, f))
        return fail_prefix("%s", log->path);
    if (flush_file(log->file, log->path) == 0)
        return 0;
    log->failed = true; /* closing the file would fail again, with less to say */
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
