/* commands: the commands of `simclr`: the programs and the pipelines in their folders. */
#ifndef COMMANDS_H
#define COMMANDS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/installation.h"

/* A list of commands, sorted by name. commands_free() frees it. */
struct commands {
    struct command {
        char *name, *path;
        char *summary; /* one line, or "" if it is not known */
        bool pipeline;
    } * items;
    int64_t n, capacity;
};

/* Lists the executable files of the two folders, except `simclr` itself and files whose names are
 * not made of letters, digits and hyphens. A pipeline with the name of a program is left out. The
 * summaries are "". Returns -1 with a message, and with *c empty, if a folder cannot be read. */
int commands_find(struct commands *c, const struct installation *installation);

/* Returns the command of that name, which `c` owns, or NULL. */
const struct command *commands_get(const struct commands *c, const char *name);

/* Sets the summaries: what follows the name in the line "NAME: SUMMARY", which is the first that
 * `NAME --help` prints. A script is searched for that line. Other commands run with --help, all at
 * once, for at most `seconds`. A command without such a line keeps its empty summary. */
void commands_summarize(struct commands *c, double seconds);

void commands_free(struct commands *c); /* leaves {0} */

#endif
