/* simclr: the one program that an installation puts on PATH. It runs all others. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/flush.h"
#include "base/signals.h"
#include "base/warn.h"
#include "cli/commands.h"
#include "cli/installation.h"
#include "cli/nearest.h"
#include "cli/options.h"

static struct installation installation;
static struct commands commands;

/* ---- the list of commands ---- */

/* Programs that are in no group are listed at the end. */
static const struct group {
    const char *heading;
    const char *names[12];
} groups[] = {
    {"Data and networks", {"augment", "encode", "project", "classify"}},
    {"Losses",
     {"ntxent", "ntlogistic", "triplet", "supcon", "dcl", "hcl", "barlow", "vicreg", "byol"}},
    {"Optimizers", {"lars", "sgd", "adam"}},
    {"Look and judge", {"inspect", "progress", "evaluate", "export-model"}},
    {"Parts of a report", {"pick", "neighbours", "tsne", "page"}},
    {"Several workers", {"gather", "reduce", "shard", "keygen", "supervise"}},
};
enum { GROUPS = sizeof groups / sizeof *groups, MEMBERS = 12 };

static void list_one(FILE *out, const struct command *command)
{
    fprintf(out, "  %-13s %s\n", command->name, command->summary);
}
static bool is_grouped(const char *name)
{
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < MEMBERS && groups[g].names[i]; i++)
            if (!strcmp(groups[g].names[i], name))
                return true;
    return false;
}

/* Prints the commands by groups, each with its summary. */
static void list_commands(FILE *out)
{
    const struct command *command;
    commands_summarize(&commands, 10);
    fprintf(out, "Pipelines: from images to a model, and to figures\n");
    for (command = commands.items; command < commands.items + commands.n; command++)
        if (command->pipeline)
            list_one(out, command);
    for (int g = 0; g < GROUPS; g++) {
        fprintf(out, "\n%s\n", groups[g].heading);
        for (int i = 0; i < MEMBERS && groups[g].names[i]; i++)
            if ((command = commands_get(&commands, groups[g].names[i])) && !command->pipeline)
                list_one(out, command);
    }
    bool first = true;
    for (command = commands.items; command < commands.items + commands.n; command++)
        if (!command->pipeline && !is_grouped(command->name)) {
            fprintf(out, "%s", first ? "\nOthers\n" : "");
            list_one(out, command);
            first = false;
        }
}

/* Returns the text between the usage and the options of --help, which the caller frees, or NULL. */
static char *describe(bool with_commands)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "simclr NAME ARGUMENT...  runs one of these commands; NAME --help says more\n"
                 "simclr help NAME         shows the manual of a command, or of `frames`\n\n");
    if (with_commands)
        list_commands(out);
    fprintf(out, "\nExample: trains a small network on drawn images, and judges its features.\n"
                 "  simclr train --run runs/first --steps 30 --encoder 'encode --width 0.25'\n"
                 "  simclr judge --run runs/first");
    return fclose(out) ? NULL : text;
}

/* ---- running a command ---- */

/* Puts the programs before everything else on PATH, so that exec:lars finds them. */
static int set_path(void)
{
    const char *old = getenv("PATH");
    const size_t length = strlen(installation.programs);
    if (!old || !*old)
        old = "/usr/local/bin:/usr/bin:/bin";
    if (!strncmp(old, installation.programs, length) && (old[length] == ':' || !old[length]))
        return 0;
    char *path;
    if (asprintf(&path, "%s:%s", installation.programs, old) < 0 || setenv("PATH", path, 1))
        return fail_memory(NULL);
    free(path);
    return 0;
}

/* Runs the command in place of this program. Returns -1 with a message if that is not possible. */
static int run(const struct command *command, char **argv)
{
    if (set_path() || (!installation.standard && setenv("BIN", installation.programs, 1)))
        return -1;
    argv[0] = command->path;
    execv(command->path, argv);
    return fail("%s: %s", command->path, strerror(errno));
}

/* Returns the command of that name. If there is none, prints one line and ends with status 2. */
static const struct command *need_command(const char *name)
{
    const struct command *command = commands_get(&commands, name);
    if (command)
        return command;
    const char **names = calloc((size_t)commands.n + 1, sizeof *names);
    for (int64_t i = 0; names && i < commands.n; i++)
        names[i] = commands.items[i].name;
    if (names)
        names[commands.n] = "help";
    const char *nearest = names ? nearest_name(name, names, (size_t)commands.n + 1) : NULL;
    warn_line("'%.64s' is no command%s%s%s (simclr --help lists all)", name,
              nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    free(names);
    exit(2);
}

/* Shows a page of the manual in place of this program. Returns if there is no such page or no `man`.
 */
static void show_page(const char *section, const char *page, bool always)
{
    static const char *const endings[] = {"", ".gz"};
    struct stat st;
    for (int i = 0; i < 2 && (always || isatty(STDOUT_FILENO)); i++) {
        char *path;
        if (asprintf(&path, "%s/man%s/%s.%s%s", installation.manual, section, page, section,
                     endings[i]) < 0)
            return;
        if (!stat(path, &st) && S_ISREG(st.st_mode))
            execlp("man", "man", path, (char *)NULL);
        free(path);
    }
}

/* simclr help NAME */
static int help(const char *name)
{
    char page[128];
    if (!strcmp(name, "frames")) {
        show_page("5", "simclr-frames", true);
        return fail("there is no manual of frames here, or no program `man`; docs/frames.md has "
                    "the same text");
    }
    const struct command *command = need_command(name);
    snprintf(page, sizeof page, "simclr-%s", command->name);
    show_page("1", page, false);
    return run(command, (char *[]){NULL, "--help", NULL});
}

/* ---- options ---- */

static bool exec_path, share_path;
static const char *word = "";
static const struct option_spec options[] = {
    {"exec-path", OPTION_SWITCH, &exec_path, 0,
     "print the folder of the programs: on PATH it makes short names", 0, 0, 0, 0},
    {"share-path", OPTION_SWITCH, &share_path, 0,
     "print the folder that holds pipelines/ and examples/", 0, 0, 0, 0},
    {"nearest", OPTION_STRING, &word, "WORD",
     "print the nearest of the names that follow, instead of running one", 0, 0, 0, 0},
    {0},
};

/* simclr --nearest WORD NAME...: prints the name that is nearest to the word, or nothing. */
static void print_nearest(const char *to, char **names, int n)
{
    const char *nearest = nearest_name(to, (const char *const *)names, (size_t)n);
    if (nearest)
        puts(nearest);
}

/* Does what the options say. */
static int obey(int argc, char **argv)
{
    const bool asked = argc < 2 || !strcmp(argv[1], "-h") || !strcmp(argv[1], "--help");
    char *all[] = {argv[0], "--help", NULL};
    static char *details; /* static, so that it is no leak if --help ends the program */
    details = describe(asked);
    int operand;
    if (!details)
        return fail_memory(NULL);
    const struct program program = {.name = "simclr",
                                    .summary = "learns image features without labels: runs the "
                                               "programs and pipelines of SimCLR",
                                    .details = details,
                                    .options = {options}};
    options_parse(&program, asked ? 2 : argc, asked ? all : argv, &operand);
    free(details);
    if (*word)
        print_nearest(word, argv + operand, argc - operand);
    else if (operand < argc || exec_path == share_path)
        options_reject("--exec-path or --share-path is needed, and nothing else");
    else
        puts(exec_path ? installation.programs : installation.share);
    return flush_stdout() == FLUSH_FAILED ? -1 : 0;
}

int main(int argc, char **argv)
{
    warn_set_name("simclr");
    if (argc > 2 && !strcmp(argv[1], "--nearest")) { /* the words may look like options */
        print_nearest(argv[2], argv + 3, argc - 3);
        return flush_stdout() == FLUSH_FAILED ? warn_failure() : 0;
    }
    if (installation_find(&installation) || commands_find(&commands, &installation))
        return warn_failure();
    int bad;
    if (argc > 1 && !strcmp(argv[1], "help") && argc <= 3)
        bad = argc == 3 ? help(argv[2]) : obey(1, argv);
    else if (argc > 1 && *argv[1] != '-')
        bad = run(need_command(argv[1]), argv + 1);
    else {
        signals_setup();
        bad = obey(argc, argv);
    }
    commands_free(&commands);
    installation_free(&installation);
    return bad ? warn_failure() : 0;
}
