#include "cli/options.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/flush.h"
#include "base/isa.h"
#include "base/warn.h"

void options_reject(const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fprintf(stderr, "%s: %s (%s --help lists the options)\n", warn_name(), text, warn_name());
    exit(2);
}

/* Returns the i-th option of all tables, or NULL after the last. */
static const struct option_spec *spec_at(const struct program *p, int i)
{
    for (const struct option_spec *const *table = p->options; *table; table++)
        for (const struct option_spec *o = *table; o->name || o->kind == OPTION_HEADING; o++)
            if (i-- == 0)
                return o;
    return NULL;
}

static bool within(const struct option_spec *o, double value)
{
    return (o->min == 0 && o->max == 0) || (value >= o->min && value <= o->max);
}

static const char byte_units[] = "KMG";

static void print_bytes(int64_t bytes)
{
    int unit = -1;
    while (unit < 2 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    printf(" [%" PRId64 "%.*s]", bytes, unit >= 0, unit >= 0 ? &byte_units[unit] : "");
}

static void print_default(const struct option_spec *o)
{
    if (o->kind == OPTION_INT) {
        int64_t value = *(int64_t *)o->value;
        if (within(o, (double)value))
            printf(" [%" PRId64 "]", value);
    } else if (o->kind == OPTION_BYTES) {
        if (within(o, (double)*(int64_t *)o->value))
            print_bytes(*(int64_t *)o->value);
    } else if (o->kind == OPTION_DOUBLE) {
        double value = *(double *)o->value;
        if (within(o, value))
            printf(" [%g]", value);
    } else if (o->kind != OPTION_SWITCH) {
        const char *text = *(const char **)o->value;
        if (text && *text)
            printf(" [%s]", text);
    }
}

static void print_help(const struct program *p, bool operands)
{
    printf("%s: %s\n\nusage: %s%s%s\n", p->name, p->summary, p->name,
           spec_at(p, 0) ? " [OPTION VALUE]..." : "", operands ? " [WORD]..." : "");
    if (p->details)
        printf("\n%s\n", p->details);
    printf("\noptions [defaults in brackets]:\n");
    const struct option_spec *o;
    for (int i = 0; (o = spec_at(p, i)); i++) {
        if (o->kind == OPTION_HEADING) {
            printf("\n%s\n", o->help);
            continue;
        }
        char flag[128];
        const char *argument = o->kind == OPTION_CHOICE ? o->choices
                               : o->argument            ? o->argument
                                                        : "";
        snprintf(flag, sizeof flag, "--%s%s%s", o->name, *argument ? " " : "", argument);
        printf(strlen(flag) > 24 ? "  %s\n%28s" : "  %-24s  %s", flag, "");
        printf("%s", o->help);
        print_default(o);
        printf("\n");
    }
    printf("  %-24s  %s\n", "--version", "print the version and exit");
    printf("  %-24s  %s\n", "--help", "print this and exit");
    exit(flush_stdout() == FLUSH_FAILED ? warn_failure() : 0);
}

static void print_version(const struct program *p)
{
    printf("%s %s\n", p->name, SIMCLR_VERSION);
    exit(flush_stdout() == FLUSH_FAILED ? warn_failure() : 0);
}

static bool is_choice(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *c = choices; length; c++) {
        if (!strncmp(c, text, length) && (c[length] == '|' || !c[length]))
            return true;
        if (!(c = strchr(c, '|')))
            break;
    }
    return false;
}

static void store(const struct option_spec *o, const char *text)
{
    char *end = NULL;
    errno = 0;
    switch (o->kind) {
    case OPTION_INT: {
        long long value = strtoll(text, &end, 10);
        if (end == text || *end || errno)
            options_reject("--%s: '%s' is not an integer", o->name, text);
        if (!within(o, (double)value))
            options_reject("--%s: %lld is not between %.0f and %.0f", o->name, value, o->min,
                           o->max);
        *(int64_t *)o->value = value;
        break;
    }
    case OPTION_BYTES: {
        double value = strtod(text, &end);
        const char *unit = end != text && *end ? strchr(byte_units, *end) : NULL;
        if (unit)
            end++;
        for (const char *u = byte_units; unit && u <= unit; u++)
            value *= 1024;
        if (end == text || *end || !(value >= 0 && value < 0x1p62))
            options_reject("--%s: '%s' is no number of bytes (such as 512M or 2G)", o->name, text);
        if (!within(o, value))
            options_reject("--%s: %.0f bytes are not between %.0f and %.0f", o->name, value, o->min,
                           o->max);
        *(int64_t *)o->value = (int64_t)value;
        break;
    }
    case OPTION_DOUBLE: {
        double value = strtod(text, &end);
        if (end == text || *end || !isfinite(value))
            options_reject("--%s: '%s' is not a number", o->name, text);
        if (!within(o, value))
            options_reject("--%s: %g is not between %g and %g", o->name, value, o->min, o->max);
        *(double *)o->value = value;
        break;
    }
    case OPTION_CHOICE:
        if (!is_choice(o->choices, text))
            options_reject("--%s: '%s' is none of %s", o->name, text, o->choices);
        *(const char **)o->value = text;
        break;
    case OPTION_STRING:
    case OPTION_VARIABLE:
        *(const char **)o->value = text;
        break;
    case OPTION_SWITCH:
        *(bool *)o->value = true;
        break;
    case OPTION_HEADING:
        break;
    }
    if (o->given)
        *o->given = true;
}

/* Takes values from the environment for flags that have none. */
static void read_environment(const struct program *p)
{
    const struct option_spec *o;
    for (int i = 0; (o = spec_at(p, i)); i++) {
        const char *text = o->kind == OPTION_VARIABLE ? getenv(o->choices) : NULL;
        if (text && !**(const char **)o->value)
            *(const char **)o->value = text;
    }
}

/* The numbers of the options that every program has, in place of an index into the tables. */
enum { HELP = -1, SHOW_VERSION = -2 };

void options_parse(const struct program *p, int argc, char **argv, int *operands)
{
    warn_set_name(p->name);
    const struct option_spec *o;
    int n = 0, used = 0;
    while (spec_at(p, n))
        n++;
    /* static, so that it is still reachable, and no leak, when --help or wrong usage ends the
     * program below */
    static struct option *table;
    static int *which;
    table = calloc((size_t)n + 3, sizeof *table);
    which = calloc((size_t)n + 3, sizeof *which);
    if (!table || !which)
        options_reject("out of memory");
    for (int i = 0; (o = spec_at(p, i)); i++) {
        if (o->kind == OPTION_HEADING)
            continue;
        which[used] = i;
        table[used++] = (struct option){
            o->name, o->kind == OPTION_SWITCH ? no_argument : required_argument, NULL, 0};
    }
    if (isa_check() < 0)
        options_reject("%s", fail_message());
    which[used] = HELP;
    table[used++] = (struct option){"help", no_argument, NULL, 0};
    which[used] = SHOW_VERSION;
    table[used++] = (struct option){"version", no_argument, NULL, 0};
    opterr = 0;
    int index, c;
    while ((c = getopt_long(argc, argv, ":", table, &index)) != -1) {
        const char *word = argv[optind - 1];
        if (c == ':')
            options_reject("%s needs a value", word);
        if (c == '?')
            options_reject("unknown option '%s'", word);
        if (which[index] == HELP)
            print_help(p, operands != NULL);
        if (which[index] == SHOW_VERSION)
            print_version(p);
        store(spec_at(p, which[index]), optarg);
    }
    if (operands)
        *operands = optind;
    else if (optind < argc)
        options_reject("unexpected word '%s'", argv[optind]);
    free(table);
    free(which);
    read_environment(p);
}
