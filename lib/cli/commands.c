#include "cli/commands.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fail.h"
#include "base/grow.h"

/* ---- the list ---- */

static bool is_command_name(const char *name)
{
    static const char allowed[] = "-0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    return *name && *name != '-' && !name[strspn(name, allowed)] && strcmp(name, "simclr");
}

/* Adds the file FOLDER/NAME if it is a command. Returns -1 with a message if memory is out. */
static int add(struct commands *c, const char *folder, const char *name, bool pipeline)
{
    struct stat st;
    struct command *items, new = {.pipeline = pipeline};
    if (!is_command_name(name) || commands_get(c, name))
        return 0;
    if (asprintf(&new.path, "%s/%s", folder, name) < 0)
        return fail_memory(NULL);
    if (stat(new.path, &st) || !S_ISREG(st.st_mode) || access(new.path, X_OK)) {
        free(new.path);
        return 0;
    }
    new.name = strdup(name);
    new.summary = strdup("");
    items = grow(c->items, c->n, &c->capacity, sizeof *c->items);
    if (items)
        c->items = items;
    if (!items || !new.name || !new.summary) {
        free(new.name);
        free(new.summary);
        free(new.path);
        return fail_memory(NULL);
    }
    c->items[c->n++] = new;
    return 0;
}

static int add_folder(struct commands *c, const char *folder, bool pipeline)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;
    int bad = dir ? 0 : fail("%s: %s", folder, strerror(errno));
    while (!bad && (entry = readdir(dir)))
        bad = add(c, folder, entry->d_name, pipeline);
    if (dir)
        closedir(dir);
    return bad;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct command *)a)->name, ((const struct command *)b)->name);
}

int commands_find(struct commands *c, const struct installation *installation)
{
    *c = (struct commands){0};
    if (add_folder(c, installation->programs, false) ||
        add_folder(c, installation->pipelines, true)) {
        commands_free(c);
        return -1;
    }
    if (c->n)
        qsort(c->items, (size_t)c->n, sizeof *c->items, by_name);
    return 0;
}

const struct command *commands_get(const struct commands *c, const char *name)
{
    for (int64_t i = 0; i < c->n; i++)
        if (!strcmp(c->items[i].name, name))
            return &c->items[i];
    return NULL;
}

void commands_free(struct commands *c)
{
    for (int64_t i = 0; i < c->n; i++) {
        free(c->items[i].name);
        free(c->items[i].path);
        free(c->items[i].summary);
    }
    free(c->items);
    *c = (struct commands){0};
}

/* ---- their summaries ---- */

enum { LINE_MAX_BYTES = 256 };

/* A command that prints its help. */
struct reader {
    pid_t pid;                 /* 0 if it could not be started */
    int fd;                    /* its stdout, or -1 */
    char text[LINE_MAX_BYTES]; /* the beginning of what it printed */
    size_t length;
};

/* Starts `PATH --help` with an empty stdin, and no stderr. A matrix library that starts threads
 * would only take time. */
static void start(struct reader *r, const struct command *command)
{
    int ends[2];
    posix_spawn_file_actions_t actions;
    *r = (struct reader){.fd = -1};
    if (pipe2(ends, O_CLOEXEC))
        return;
    if (!posix_spawn_file_actions_init(&actions)) {
        char *argv[] = {command->path, "--help", NULL};
        if (posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0) ||
            posix_spawn_file_actions_adddup2(&actions, ends[1], 1) ||
            posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) ||
            posix_spawn(&r->pid, command->path, &actions, NULL, argv, environ))
            r->pid = 0;
        posix_spawn_file_actions_destroy(&actions);
    }
    close(ends[1]);
    if (r->pid)
        r->fd = ends[0];
    else
        close(ends[0]);
}

/* Reads what is there, up to the end of the first line, and closes the pipe then. */
static void take(struct reader *r)
{
    const ssize_t n = read(r->fd, r->text + r->length, sizeof r->text - 1 - r->length);
    if (n < 0 && errno == EINTR)
        return;
    if (n > 0)
        r->length += (size_t)n;
    if (n <= 0 || r->length == sizeof r->text - 1 || memchr(r->text, '\n', r->length)) {
        close(r->fd);
        r->fd = -1;
    }
}

/* Reads from all until each has printed a line or the time is over. */
static void read_all(struct reader *readers, struct pollfd *polled, int64_t n, double seconds)
{
    const double end = clock_now() + seconds;
    for (;;) {
        bool waiting = false;
        for (int64_t i = 0; i < n; i++) {
            polled[i] = (struct pollfd){.fd = readers[i].fd, .events = POLLIN};
            waiting |= readers[i].fd >= 0;
        }
        const double left = end - clock_now();
        if (!waiting || left <= 0)
            return;
        if (poll(polled, (nfds_t)n, (int)(1000 * left) + 1) < 0 && errno != EINTR)
            return;
        for (int64_t i = 0; i < n; i++)
            if (polled[i].fd >= 0 && polled[i].revents)
                take(&readers[i]);
    }
}

/* Sets the summary from a line "NAME: SUMMARY". Returns false if it is another line. */
static bool set_summary(struct command *command, char *line)
{
    const size_t length = strlen(command->name);
    if (strncmp(line, command->name, length) || strncmp(line + length, ": ", 2))
        return false;
    line[strcspn(line, "\n")] = 0;
    fail_clean(line);
    char *summary = strdup(line + length + 2);
    if (summary) {
        free(command->summary);
        command->summary = summary;
    }
    return true;
}

/* Looks for the line in the text of a script, which takes less time than to run it. Returns false if
 * the file is no script or has no such line. */
static bool search_script(struct command *command)
{
    FILE *file = fopen(command->path, "re");
    char line[LINE_MAX_BYTES];
    bool found = false;
    if (file && fgets(line, sizeof line, file) && !strncmp(line, "#!", 2))
        while (!found && fgets(line, sizeof line, file))
            found = set_summary(command, line);
    if (file)
        fclose(file);
    return found;
}

void commands_summarize(struct commands *c, double seconds)
{
    struct reader *readers = calloc((size_t)c->n + 1, sizeof *readers);
    struct pollfd *polled = calloc((size_t)c->n + 1, sizeof *polled);
    if (readers && polled) {
        setenv("OPENBLAS_NUM_THREADS", "1", 0);
        for (int64_t i = 0; i < c->n; i++)
            if (!search_script(&c->items[i]))
                start(&readers[i], &c->items[i]);
        read_all(readers, polled, c->n, seconds);
    }
    for (int64_t i = 0; readers && polled && i < c->n; i++) {
        if (readers[i].pid) {
            readers[i].text[readers[i].length] = 0;
            set_summary(&c->items[i], readers[i].text);
            if (readers[i].fd >= 0)
                close(readers[i].fd);
            kill(readers[i].pid, SIGKILL); /* it has printed its line, or hangs */
            waitpid(readers[i].pid, NULL, 0);
        }
    }
    free(readers);
    free(polled);
}
