/* Tests of cli/options. Wrong usage ends a program, so each such case runs in a process of its own. */
#include "cli/options.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/warn.h"

#include <cmocka.h>

static const char *arch, *file, *id;
static double temperature;
static int64_t threads, cache;
static bool semi_hard, given;

static const struct option_spec own[] = {
    {.name = "arch",
     .kind = OPTION_CHOICE,
     .value = &arch,
     .choices = "resnet18|resnet34",
     .argument = "NAME",
     .help = "the network"},
    {.name = "temperature",
     .kind = OPTION_DOUBLE,
     .value = &temperature,
     .argument = "T",
     .min = 0.01,
     .max = 10,
     .given = &given,
     .help = "divides"},
    {.name = "semi-hard", .kind = OPTION_SWITCH, .value = &semi_hard, .help = "one negative"},
    {0},
};
static const struct option_spec shared[] = {
    {.kind = OPTION_HEADING, .help = "shared"},
    {.name = "threads",
     .kind = OPTION_INT,
     .value = &threads,
     .argument = "N",
     .min = 1,
     .max = 64,
     .help = "never the result [all cores]"},
    {.name = "cache",
     .kind = OPTION_BYTES,
     .value = &cache,
     .argument = "BYTES",
     .min = 0,
     .max = 1e15,
     .help = "in memory"},
    {.name = "file", .kind = OPTION_STRING, .value = &file, .argument = "FILE", .help = "read"},
    {.name = "id",
     .kind = OPTION_VARIABLE,
     .value = &id,
     .choices = "TEST_OPTIONS_ID",
     .argument = "ID",
     .help = "of a run"},
    {0},
};
static const struct program program = {"prog", "does it", "Details.", {own, shared}};

static int set_defaults(void **state)
{
    (void)state;
    arch = "resnet18";
    file = id = "";
    temperature = 0.5;
    threads = 3;
    cache = 3 << 20;
    semi_hard = given = false;
    unsetenv("TEST_OPTIONS_ID");
    return 0;
}

enum { MOST_WORDS = 16 };

/* Splits the line at blanks into argv, whose first word is the program's name. Returns argc. */
static int split(const char *line, char *text, size_t size, char **argv)
{
    int argc = 0;
    snprintf(text, size, "prog %s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return argc;
}

/* Values point into the text, so it stays until the next line. */
static void parse(const char *line)
{
    static char text[256];
    char *argv[MOST_WORDS];
    options_parse(&program, split(line, text, sizeof text, argv), argv, NULL);
}

/* Parses the line, with operands if `operands`, in another process. Returns its exit status, and
 * what it printed to stdout and stderr. */
static int outcome(const char *line, bool operands, char *said, size_t size)
{
    int pipes[2], status;
    assert_return_code(pipe(pipes), 0);
    fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        char text[256], *argv[MOST_WORDS];
        int first;
        dup2(pipes[1], 1);
        dup2(pipes[1], 2);
        close(pipes[0]);
        options_parse(&program, split(line, text, sizeof text, argv), argv,
                      operands ? &first : NULL);
        _exit(0);
    }
    close(pipes[1]);
    size_t n = 0;
    for (ssize_t got; (got = read(pipes[0], said + n, size - 1 - n)) > 0;)
        n += (size_t)got;
    said[n] = 0;
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void assert_rejects(const char *line, const char *reason)
{
    char said[4096], want[4096];
    assert_int_equal(outcome(line, false, said, sizeof said), 2);
    snprintf(want, sizeof want, "prog: %s (prog --help lists the options)\n", reason);
    assert_string_equal(said, want);
}

static void test_values(void **state)
{
    (void)state;
    parse("--arch resnet34 --temperature=0.25 --semi-hard --threads 8 --cache 1.5K --file -x");
    assert_string_equal(arch, "resnet34");
    assert_true(temperature == 0.25 && given);
    assert_true(semi_hard);
    assert_int_equal(threads, 8);
    assert_int_equal(cache, 1536);
    assert_string_equal(file, "-x"); /* a value may look like an option */
    parse("--file a=b --file=c=d --threads=9");
    assert_string_equal(file, "c=d");
    assert_int_equal(threads, 9);
    parse("--file=");
    assert_string_equal(file, "");
}

static void test_environment(void **state)
{
    (void)state;
    setenv("TEST_OPTIONS_ID", "from-environment", 1);
    parse("--id 7");
    assert_string_equal(id, "7");
    id = "";
    parse("");
    assert_string_equal(id, "from-environment");
}

static void test_operands(void **state)
{
    (void)state;
    char text[256], *argv[MOST_WORDS];
    int first, argc = split("a --threads 5 - b --semi-hard -- --file c", text, sizeof text, argv);
    options_parse(&program, argc, argv, &first);
    const char *const want[] = {"a", "-", "b", "--file", "c"};
    assert_int_equal(argc - first, 5);
    for (int i = 0; i < 5; i++)
        assert_string_equal(argv[first + i], want[i]);
    assert_int_equal(threads, 5);
    assert_true(semi_hard);
    assert_string_equal(file, "");
    argc = split("--threads 6", text, sizeof text, argv);
    options_parse(&program, argc, argv, &first);
    assert_int_equal(first, argc);
}

static void test_wrong_usage(void **state)
{
    (void)state;
    assert_rejects("a", "unexpected word 'a'");
    assert_rejects("--threads 5 - ", "unexpected word '-'");
    assert_rejects("--threads", "--threads needs a value");
    assert_rejects("--semi-hard=1", "--semi-hard takes no value");
    assert_rejects("--threads 0", "--threads: 0 is not between 1 and 64");
    assert_rejects("--threads 1x", "--threads: '1x' is not an integer");
    assert_rejects("--colour red", "unknown option '--colour'");
    assert_rejects("-", "unexpected word '-'");
    assert_rejects("-x", "unknown option '-x'");
    assert_rejects("--shared 1", "unknown option '--shared'"); /* a heading is no option */
    assert_rejects("--=1", "unknown option '--'");
}

static void test_nearest(void **state)
{
    (void)state;
    assert_rejects("--temprature 1", "unknown option '--temprature': did you mean --temperature?");
    assert_rejects("--temprature=1", "unknown option '--temprature': did you mean --temperature?");
    assert_rejects("-threads 1", "unknown option '-threads': did you mean --threads?");
    assert_rejects("--semi_hard", "unknown option '--semi_hard': did you mean --semi-hard?");
    assert_rejects("--verison", "unknown option '--verison': did you mean --version?");
    assert_rejects("--arch resnet81",
                   "--arch: 'resnet81' is none of resnet18|resnet34: did you mean resnet18?");
    assert_rejects("--arch vgg", "--arch: 'vgg' is none of resnet18|resnet34");
}

static void test_abbreviations_are_refused(void **state)
{
    (void)state;
    assert_rejects("--temp 1", "unknown option '--temp': did you mean --temperature?");
    assert_rejects("--ver", "unknown option '--ver': did you mean --version?");
    assert_rejects("--arch resnet",
                   "--arch: 'resnet' is none of resnet18|resnet34: did you mean resnet18?");
    assert_true(temperature == 0.5);
}

static void test_help(void **state)
{
    (void)state;
    char help[4096], short_help[4096];
    const char *const want = "prog: does it\n\nusage: prog [OPTION VALUE]...\n\nDetails.\n\n"
                             "options [defaults in brackets]:\n"
                             "  --arch resnet18|resnet34  the network [resnet18]\n"
                             "  --temperature T           divides [0.5]\n"
                             "  --semi-hard               one negative\n"
                             "\nshared\n"
                             "  --threads N               never the result [all cores]\n"
                             "  --cache BYTES             in memory [3M]\n"
                             "  --file FILE               read\n"
                             "  --id ID                   of a run\n"
                             "  --version                 print the version and exit\n"
                             "  --help                    print this and exit; also -h\n";
    assert_int_equal(outcome("--threads 7 --help", false, help, sizeof help), 0);
    assert_string_equal(help, want);
    assert_int_equal(outcome("-h", false, short_help, sizeof short_help), 0);
    assert_string_equal(short_help, help);
    assert_int_equal(outcome("a -h", true, short_help, sizeof short_help), 0);
    assert_non_null(strstr(short_help, "usage: prog [OPTION VALUE]... [WORD]...\n"));
}

static void test_table(void **state)
{
    (void)state;
    char table[4096];
    assert_int_equal(outcome("--option-table", false, table, sizeof table), 0);
    assert_string_equal(table, "arch\tchoice\tresnet18|resnet34\tresnet18\tthe network\n"
                               "temperature\tdouble\tT\t0.5\tdivides\n"
                               "semi-hard\tswitch\t\t\tone negative\n"
                               "\theading\t\t\tshared\n"
                               "threads\tint\tN\tall cores\tnever the result\n"
                               "cache\tbytes\tBYTES\t3M\tin memory\n"
                               "file\tstring\tFILE\t\tread\n"
                               "id\tvariable\tID\t\tof a run\n"
                               "version\tswitch\t\t\tprint the version and exit\n"
                               "help\tswitch\t\t\tprint this and exit; also -h\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_values, set_defaults),
        cmocka_unit_test_setup(test_environment, set_defaults),
        cmocka_unit_test_setup(test_operands, set_defaults),
        cmocka_unit_test_setup(test_wrong_usage, set_defaults),
        cmocka_unit_test_setup(test_nearest, set_defaults),
        cmocka_unit_test_setup(test_abbreviations_are_refused, set_defaults),
        cmocka_unit_test_setup(test_help, set_defaults),
        cmocka_unit_test_setup(test_table, set_defaults),
    };
    warn_set_name("prog");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
