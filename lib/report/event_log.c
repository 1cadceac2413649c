#include "report/event_log.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "base/fail.h"
#include "base/flush.h"
#include "base/folders.h"
#include "base/protobuf.h"
#include "report/metrics.h"

/* Fields of the messages, and values of an enum. */
enum {
    EVENT_WALL_TIME = 1,
    EVENT_STEP,
    EVENT_FILE_VERSION,
    EVENT_SUMMARY = 5,
    EVENT_SESSION_LOG = 7
};
enum { SUMMARY_VALUE = 1, VALUE_TAG = 1, VALUE_SIMPLE_VALUE = 2 };
enum { SESSION_LOG_STATUS = 1, STATUS_START = 1 };

static const char prefix[] = "events.out.tfevents.";
enum { SECONDS_DIGITS = 10 };
static const int64_t last_second = 9999999999; /* with this number of digits */

struct event_log {
    FILE *file;
    char *path;
    bool failed; /* a write failed, and its message has been left */
};

/* ---- records ---- */

static void put_little_endian(unsigned char *to, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        to[i] = (unsigned char)(value >> 8 * i);
}

static uint32_t masked_crc(const void *bytes, size_t n)
{
    const uint32_t crc = crc32c(bytes, n);
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

/* Begins an event of this step at the present time. */
static struct protobuf begin_event(int64_t step)
{
    struct protobuf event = {0};
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    protobuf_double(&event, EVENT_WALL_TIME, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec);
    protobuf_integer(&event, EVENT_STEP, step);
    return event;
}

/* Writes the event as a record, flushes it, and frees it. */
static int write_event(struct event_log *log, struct protobuf *event)
{
    unsigned char head[12], crc[4];
    int result = event->failed ? fail_memory(log->path) : 0;
    if (!result) {
        put_little_endian(head, event->size, 8);
        put_little_endian(head + 8, masked_crc(head, 8), 4);
        put_little_endian(crc, masked_crc(event->data, event->size), 4);
        fwrite(head, 1, sizeof head, log->file);
        fwrite(event->data, 1, event->size, log->file);
        fwrite(crc, 1, sizeof crc, log->file);
        result = flush_file(log->file, log->path);
    }
    protobuf_free(event);
    log->failed = log->failed || result; /* closing the file would fail again, with less to say */
    return result;
}

static int write_start(struct event_log *log, int64_t step)
{
    struct protobuf version = begin_event(0), start = begin_event(step), session = {0};
    protobuf_text(&version, EVENT_FILE_VERSION, "brain.Event:2");
    protobuf_integer(&session, SESSION_LOG_STATUS, STATUS_START);
    protobuf_message(&start, EVENT_SESSION_LOG, &session);
    if (!write_event(log, &version))
        return write_event(log, &start);
    protobuf_free(&start);
    return -1;
}

/* ---- files ---- */

/* Returns the seconds in the name of an event file, or -1 if it is another file. */
static int64_t seconds_of(const char *name)
{
    const size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) || strspn(name + length, "0123456789") != SECONDS_DIGITS)
        return -1;
    return strtoll(name + length, NULL, 10);
}

/* Returns the present time, or more if the folder has an event file that is as late; or -1. */
static int64_t choose_seconds(const char *folder)
{
    DIR *list = opendir(folder);
    if (!list)
        return fail("%s: %s", folder, strerror(errno));
    int64_t seconds = time(NULL);
    const struct dirent *entry;
    while ((entry = readdir(list)))
        if (seconds_of(entry->d_name) >= seconds)
            seconds = seconds_of(entry->d_name) + 1;
    closedir(list);
    if (seconds > last_second)
        return fail("%s: has an event file from the end of time (%s%" PRId64
                    "); give an empty folder",
                    folder, prefix, last_second);
    return seconds;
}

static void read_host(char *host, size_t size)
{
    if (gethostname(host, size))
        snprintf(host, size, "localhost");
    host[size - 1] = 0;
    for (char *c = host; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr("-._", *c))
            *c = '-';
}

static int create_file(struct event_log *log, const char *folder)
{
    char host[65];
    if (folders_make(folder))
        return -1;
    const int64_t seconds = choose_seconds(folder);
    if (seconds < 0)
        return -1;
    read_host(host, sizeof host);
    if (asprintf(&log->path, "%s/%s%0*" PRId64 ".%s.%ld.0", folder, prefix, SECONDS_DIGITS, seconds,
                 host, (long)getpid()) < 0) {
        log->path = NULL;
        return fail_memory(folder);
    }
    const int fd = open(log->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    log->file = fd < 0 ? NULL : fdopen(fd, "w");
    if (log->file)
        return 0;
    fail("%s: %s", log->path, strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

static int step_of(const struct frame *f, const char *path, int64_t *step)
{
    if (!frame_meta(f, "step"))
        return fail("%s: frames without `step` cannot be logged", path);
    return frame_meta_int(f, "step", 0, step);
}

struct event_log *event_log_open(const char *folder, const struct frame *first)
{
    int64_t step;
    if (step_of(first, folder, &step))
        return NULL;
    struct event_log *log = calloc(1, sizeof *log);
    if (!log) {
        fail_memory(folder);
        return NULL;
    }
    if (create_file(log, folder) || write_start(log, step)) {
        event_log_close(log);
        return NULL;
    }
    return log;
}

int event_log_write(struct event_log *log, const struct frame *f)
{
    int64_t step;
    if (step_of(f, log->path, &step))
        return -1;
    struct protobuf event = begin_event(step), summary = {0};
    const struct meta *m;
    for (int at = 0; (m = metrics_next(f, &at));) {
        double number;
        if (!strcmp(m->key, "step") || !metrics_number(m->value, &number))
            continue;
        struct protobuf value = {0};
        protobuf_text(&value, VALUE_TAG, m->key);
        protobuf_float(&value, VALUE_SIMPLE_VALUE, (float)number);
        protobuf_message(&summary, SUMMARY_VALUE, &value);
    }
    protobuf_message(&event, EVENT_SUMMARY, &summary);
    return write_event(log, &event);
}

int event_log_close(struct event_log *log)
{
    int result = 0;
    if (!log)
        return 0;
    if (log->file && fclose(log->file) && !log->failed)
        result = fail("%s: %s", log->path, strerror(errno));
    free(log->path);
    free(log);
    return result;
}
