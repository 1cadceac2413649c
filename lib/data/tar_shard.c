#include "data/tar_shard.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/fail.h"

struct tar_shard {
    const char *name;
    struct command *command; /* NULL: a file */
    struct tar *tar;
    /* For a command: what has been read. */
    int64_t complete; /* entries whose bytes have been read as well */
    uint32_t crc;     /* of these */
    bool inside;      /* in the entry after them */
    uint32_t header;  /* the CRC that includes the name and size of that entry */
    uint32_t now;     /* the CRC that also includes those of its bytes that were read */
};

/* ---- opening ---- */

struct tar_shard *tar_shard_open(const char *path)
{
    struct tar_shard *s = calloc(1, sizeof *s);
    if (!s)
        fail_memory(path);
    else if ((s->tar = tar_open(path)))
        return s;
    free(s);
    return NULL;
}

struct tar_shard *tar_shard_open_command(struct command *c, const char *name)
{
    struct tar_shard *s = calloc(1, sizeof *s);
    if (!s) {
        command_end(c);
        fail_memory(name);
        return NULL;
    }
    s->name = name;
    s->command = c;
    return s;
}

void tar_shard_close(struct tar_shard *s)
{
    if (!s)
        return;
    tar_close(s->tar);
    command_end(s->command);
    free(s);
}

/* ---- what has been read ---- */

static uint32_t add_text(uint32_t crc, const char *text)
{
    return (uint32_t)crc32_z(crc, (const void *)text, strlen(text) + 1);
}

static uint32_t add_header(uint32_t crc, const struct tar_entry *e)
{
    const int64_t numbers[] = {e->kind, e->size};
    crc = (uint32_t)crc32_z(crc, (const void *)numbers, sizeof numbers);
    crc = add_text(crc, e->path);
    return e->link ? add_text(crc, e->link) : crc;
}

/* ---- again ---- */

enum progress { BROKEN = -2, FAILED = -1, DONE = 0 };

static enum progress changed(const struct tar_shard *s)
{
    fail("%s: delivers another archive than before: its first %lld entries have changed", s->name,
         (long long)(s->complete + s->inside));
    return FAILED;
}

/* Reads the archive, which has been opened again, up to the place that the caller has reached. */
static enum progress pass_over(struct tar_shard *s)
{
    uint32_t crc = 0;
    struct tar_entry e;
    enum tar_result result;
    for (int64_t i = 0; i < s->complete; i++) {
        if ((result = tar_next(s->tar, &e)) != TAR_ENTRY)
            return result == TAR_END ? changed(s) : BROKEN;
        crc = add_header(crc, &e);
        if (tar_skip(s->tar, &crc))
            return BROKEN;
    }
    if (crc != s->crc)
        return changed(s);
    if (!s->inside)
        return DONE;
    if ((result = tar_next(s->tar, &e)) != TAR_ENTRY)
        return result == TAR_END ? changed(s) : BROKEN;
    s->now = s->header;
    return add_header(crc, &e) == s->header ? DONE : changed(s);
}

/* After a failure, runs the command again until it delivers what has been read before. Returns -1
 * with a message on failure. */
static int again(struct tar_shard *s)
{
    enum progress progress = BROKEN;
    while (s->command && progress == BROKEN) {
        tar_close(s->tar);
        s->tar = NULL;
        if (command_retry(s->command, s->complete, "entries") != COMMAND_AGAIN)
            return -1;
        s->tar = tar_open_command(s->command, s->name);
        if (s->tar)
            progress = pass_over(s);
    }
    return progress == DONE ? 0 : -1;
}

/* ---- reading ---- */

/* Reads what is left of the entry that was found last. */
static int complete_entry(struct tar_shard *s)
{
    while (tar_skip(s->tar, &s->now))
        if (again(s))
            return -1;
    s->crc = s->now;
    s->complete++;
    s->inside = false;
    return 0;
}

enum tar_result tar_shard_next(struct tar_shard *s, struct tar_entry *e)
{
    if (!s->command)
        return tar_next(s->tar, e);
    if (!s->tar && !(s->tar = tar_open_command(s->command, s->name)) && again(s))
        return TAR_FAILED;
    if (s->inside && complete_entry(s))
        return TAR_FAILED;
    enum tar_result result;
    while ((result = tar_next(s->tar, e)) == TAR_FAILED)
        if (again(s))
            return TAR_FAILED;
    if (result == TAR_ENTRY) {
        s->inside = true;
        s->header = s->now = add_header(s->crc, e);
    }
    return result;
}

int tar_shard_read(struct tar_shard *s, void *out, int64_t size)
{
    while (tar_read(s->tar, out, size))
        if (again(s))
            return -1;
    if (s->command && size)
        s->now = (uint32_t)crc32_z(s->now, out, (size_t)size);
    return 0;
}
