#include "data/shards.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "data/brace_expand.h"

enum {
    PREFIX = 5, /* bytes of "exec:" and "pipe:" */
    /* Longer commands are shown by their beginning and end, so that a message has room for the
     * defect. */
    LONGEST_SHOWN = 320,
    SHOWN_BEGIN = 200,
    SHOWN_END = 100,
    KEPT_BRACE = 1, /* stands for "\{" while braces are expanded */
    FRAME_BYTES = 9
};

struct shards {
    char **commands, **names;
    int64_t n;
    const struct link_config *links;
    int64_t retries;
    struct command *first; /* the first command, if shards_recognize() has started it */
};

bool shards_match(const char *path)
{
    if (strncmp(path, "exec:", PREFIX) != 0 && strncmp(path, "pipe:", PREFIX) != 0)
        return false;
    const char *rest = path;
    size_t length;
    endpoint_take(&rest, &length);
    return (!rest || *path == 'p') && access(path, F_OK) != 0;
}

/* ---- the list of commands ---- */

/* Copies the command, with one byte for each brace that should not be expanded. */
static char *hide_braces(const char *command)
{
    char *copy = strdup(command), *to = copy;
    if (!copy) {
        fail_memory("--data");
        return NULL;
    }
    for (const char *from = command; *from; from++) {
        if (*from == KEPT_BRACE) {
            free(copy);
            return fail_null("--data: a command with a control character");
        }
        const bool kept = from[0] == '\\' && from[1] == '{';
        *to++ = kept ? KEPT_BRACE : *from;
        from += kept;
    }
    *to = '\0';
    return copy;
}

static void show_braces(char *command)
{
    for (; *command; command++)
        if (*command == KEPT_BRACE)
            *command = '{';
}

/* Returns the name of a command for messages. It belongs to the caller. */
static char *name_of(const char *prefix, const char *command)
{
    char *name;
    const size_t n = strlen(command);
    const int made = n <= LONGEST_SHOWN ? asprintf(&name, "%.*s%s", PREFIX, prefix, command)
                                        : asprintf(&name, "%.*s%.*s ... %s", PREFIX, prefix,
                                                   SHOWN_BEGIN, command, command + n - SHOWN_END);
    return made < 0 ? NULL : name;
}

static int expand(struct shards *s, const char *path)
{
    char *hidden = hide_braces(path + PREFIX);
    if (!hidden)
        return -1;
    const int result = brace_expand(hidden, &s->commands, &s->n);
    free(hidden);
    if (result)
        return fail("%.*s%s (\\{ is a brace of the command itself)", PREFIX, path, fail_message());
    s->names = calloc((size_t)s->n, sizeof *s->names);
    if (!s->names)
        return fail_memory("--data");
    for (int64_t i = 0; i < s->n; i++) {
        show_braces(s->commands[i]);
        s->names[i] = name_of(path, s->commands[i]);
        if (!s->names[i])
            return fail_memory("--data");
    }
    return 0;
}

struct shards *shards_open(const char *path, const struct link_config *links, int64_t retries)
{
    const char *at = path + PREFIX;
    while (isspace((unsigned char)*at))
        at++;
    if (!*at)
        return fail_null("--data %.*s: a command is missing", PREFIX, path);
    struct shards *s = calloc(1, sizeof *s);
    if (!s) {
        fail_memory("--data");
        return NULL;
    }
    s->links = links;
    s->retries = retries;
    if (expand(s, path) == 0)
        return s;
    shards_close(s);
    return NULL;
}

void shards_close(struct shards *s)
{
    if (!s)
        return;
    command_end(s->first);
    if (s->names)
        brace_expand_free(s->names, s->n);
    brace_expand_free(s->commands, s->n);
    free(s);
}

int64_t shards_count(const struct shards *s)
{
    return s->n;
}

const char *shards_name(const struct shards *s, int64_t i)
{
    return s->names[i];
}

/* ---- commands ---- */

/* Returns true if the output begins as a frame does: with the length of its header, in 8 bytes, and
 * a brace. */
static bool is_frame(const char bytes[FRAME_BYTES])
{
    return bytes[5] == 0 && bytes[6] == 0 && bytes[7] == 0 && bytes[8] == '{';
}

int shards_recognize(struct shards *s, enum shards_kind *kind)
{
    char bytes[FRAME_BYTES];
    ssize_t n = 0;
    s->first = shards_begin(s, 0);
    if (!s->first)
        return -1;
    while ((n = command_peek(s->first, bytes, sizeof bytes)) <= 0) {
        if (n == 0) {
            command_ended(s->first);
            fail("%s: delivered nothing", s->names[0]);
        }
        command_blame(s->first);
        if (command_retry(s->first, 0, "entries") != COMMAND_AGAIN)
            return -1;
    }
    *kind = n == FRAME_BYTES && is_frame(bytes) ? SHARDS_FRAMES : SHARDS_ARCHIVES;
    return 0;
}

struct command *shards_begin(struct shards *s, int64_t i)
{
    struct command *c = i == 0 ? s->first : NULL;
    s->first = i == 0 ? NULL : s->first;
    return c ? c : command_start(s->names[i], s->commands[i], s->links, s->retries);
}
