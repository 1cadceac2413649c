#include "cli/options.h"

#include <assert.h>
#include <errno.h>
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
#include "cli/nearest.h"

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

static void bytes_text(int64_t bytes, char *text, size_t size)
{
    int unit = -1;
    while (unit < 2 && bytes >= 1024 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, size, "%" PRId64 "%.*s", bytes, unit >= 0, unit >= 0 ? &byte_units[unit] : "");
}

/* Returns the length of a help text without the default in brackets that it may end with. */
static size_t help_length(const char *help)
{
    const size_t n = strlen(help);
    if (n && help[n - 1] == ']')
        for (size_t i = n; i-- > 1;)
            if (help[i] == '[' && help[i - 1] == ' ')
                return i - 1;
    return n;
}

/* Writes an option's default, or "" if it has none. */
static void default_text(const struct option_spec *o, char *text, size_t size)
{
    const size_t n = help_length(o->help);
    *text = 0;
    if (o->help[n]) {
        snprintf(text, size, "%.*s", (int)strlen(o->help + n + 2) - 1, o->help + n + 2);
    } else if (o->kind == OPTION_INT) {
        const int64_t value = *(int64_t *)o->value;
        if (within(o, (double)value))
            snprintf(text, size, "%" PRId64, value);
    } else if (o->kind == OPTION_BYTES) {
        if (within(o, (double)*(int64_t *)o->value))
            bytes_text(*(int64_t *)o->value, text, size);
    } else if (o->kind == OPTION_DOUBLE) {
        const double value = *(double *)o->value;
        if (within(o, value))
            snprintf(text, size, "%g", value);
    } else if (o->kind != OPTION_SWITCH) {
        const char *value = *(const char **)o->value;
        snprintf(text, size, "%s", value ? value : "");
    }
}

/* Returns what stands for an option's value in --help: "" for a switch. */
static const char *argument_of(const struct option_spec *o)
{
    return o->kind == OPTION_CHOICE ? o->choices : o->argument ? o->argument : "";
}

/* The options that every program has, in the order of --help. */
static const struct option_spec common_options[] = {
    {.name = "version", .kind = OPTION_SWITCH, .help = "print the version and exit"},
    {.name = "help", .kind = OPTION_SWITCH, .help = "print this and exit; also -h"},
    {0},
};

static void print_option(const struct option_spec *o)
{
    char flag[256], value[256];
    if (o->kind == OPTION_HEADING) {
        printf("\n%s\n", o->help);
        return;
    }
    snprintf(flag, sizeof flag, "--%s%s%s", o->name, *argument_of(o) ? " " : "", argument_of(o));
    default_text(o, value, sizeof value);
    printf(strlen(flag) > 24 ? "  %s\n%28s" : "  %-24s  %s", flag, "");
    printf("%.*s", (int)help_length(o->help), o->help);
    printf(*value ? " [%s]\n" : "\n", value);
}

static void end_after_printing(void)
{
    exit(flush_stdout() == FLUSH_FAILED ? warn_failure() : 0);
}

static void print_help(const struct program *p, bool operands)
{
    printf("%s: %s\n\nusage: %s%s%s\n", p->name, p->summary, p->name,
           spec_at(p, 0) ? " [OPTION VALUE]..." : "", operands ? " [WORD]..." : "");
    if (p->details)
        printf("\n%s\n", p->details);
    printf("\noptions [defaults in brackets]:\n");
    const struct option_spec *o;
    for (int i = 0; (o = spec_at(p, i)); i++)
        print_option(o);
    for (o = common_options; o->name; o++)
        print_option(o);
    end_after_printing();
}

static void print_row(const struct option_spec *o)
{
    static const char *const kinds[] = {"string", "int",    "bytes",    "double",
                                        "switch", "choice", "variable", "heading"};
    if (o->kind == OPTION_HEADING) {
        printf("\theading\t\t\t%s\n", o->help);
        return;
    }
    char value[256];
    default_text(o, value, sizeof value);
    printf("%s\t%s\t%s\t%s\t%.*s\n", o->name, kinds[o->kind], argument_of(o), value,
           (int)help_length(o->help), o->help);
}

static void print_table(const struct program *p)
{
    const struct option_spec *o;
    for (int i = 0; (o = spec_at(p, i)); i++)
        print_row(o);
    for (o = common_options; o->name; o++)
        print_row(o);
    end_after_printing();
}

static void print_version(const struct program *p)
{
    printf("%s %s\n", p->name, SIMCLR_VERSION);
    end_after_printing();
}

enum { MOST_NAMES = 128 };

/* Returns the option whose name is nearest to the word, which may begin with dashes; or NULL. */
static const char *nearest_option(const struct program *p, const char *word, size_t length)
{
    const char *names[MOST_NAMES];
    char text[64];
    size_t n = 0;
    const struct option_spec *o;
    for (int i = 0; (o = spec_at(p, i)); i++)
        if (o->kind != OPTION_HEADING && n < MOST_NAMES)
            names[n++] = o->name;
    for (o = common_options; o->name && n < MOST_NAMES; o++)
        names[n++] = o->name;
    const size_t dashes = strspn(word, "-");
    if (length - dashes >= sizeof text)
        return NULL;
    snprintf(text, sizeof text, "%.*s", (int)(length - dashes), word + dashes);
    return nearest_name(text, names, n);
}

static void reject_unknown(const struct program *p, const char *word)
{
    const size_t length = strcspn(word, "=");
    const char *near = nearest_option(p, word, length);
    const int shown = length > 200 ? 200 : (int)length;
    if (near)
        options_reject("unknown option '%.*s': did you mean --%s?", shown, word, near);
    options_reject("unknown option '%.*s'", shown, word);
}

/* Returns the choice that is nearest to the text, in `copy`, or NULL. */
static const char *nearest_choice(const char *choices, const char *text, char *copy, size_t size)
{
    const char *names[MOST_NAMES];
    char *rest = copy;
    size_t n = 0;
    snprintf(copy, size, "%s", choices);
    while (rest && n < MOST_NAMES)
        names[n++] = strsep(&rest, "|");
    return nearest_name(text, names, n);
}

static void reject_choice(const struct option_spec *o, const char *text)
{
    char copy[512];
    const char *near = nearest_choice(o->choices, text, copy, sizeof copy);
    if (near)
        options_reject("--%s: '%s' is none of %s: did you mean %s?", o->name, text, o->choices,
                       near);
    options_reject("--%s: '%s' is none of %s", o->name, text, o->choices);
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
            reject_choice(o, text);
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

/* Prints what one of the options that every program has asks for, and ends the program. Returns if
 * the word is none of them. */
static void answer_common(const struct program *p, const char *word, bool operands)
{
    if (!strcmp(word, "-h") || !strcmp(word, "--help"))
        print_help(p, operands);
    if (!strcmp(word, "--version"))
        print_version(p);
    if (!strcmp(word, "--option-table"))
        print_table(p);
}

/* Returns the option that the word names in full, with "=VALUE" or without, or NULL. */
static const struct option_spec *named(const struct program *p, const char *word)
{
    const struct option_spec *o;
    const size_t length = strcspn(word, "=");
    if (strncmp(word, "--", 2) != 0)
        return NULL;
    for (int i = 0; (o = spec_at(p, i)); i++)
        if (o->kind != OPTION_HEADING && strlen(o->name) == length - 2 &&
            !strncmp(o->name, word + 2, length - 2))
            return o;
    return NULL;
}

/* Takes the option at argv[0] over, and its value. Returns how many words that were. */
static int take_option(const struct program *p, char **argv, bool operands)
{
    const char *equals = strchr(argv[0], '=');
    answer_common(p, argv[0], operands);
    const struct option_spec *o = named(p, argv[0]);
    if (!o)
        reject_unknown(p, argv[0]);
    if (o->kind == OPTION_SWITCH) {
        if (equals)
            options_reject("--%s takes no value", o->name);
        store(o, NULL);
        return 1;
    }
    if (!equals && !argv[1])
        options_reject("%s needs a value", argv[0]);
    store(o, equals ? equals + 1 : argv[1]);
    return equals ? 1 : 2;
}

/* Moves `count` words at argv[0], at most two, before the `operands` words that precede them. */
static void move_before(char **argv, int count, int operands)
{
    char *moved[2];
    const size_t bytes = (size_t)count * sizeof *moved;
    memcpy(moved, argv, bytes);
    memmove(argv - operands + count, argv - operands, (size_t)operands * sizeof *argv);
    memcpy(argv - operands, moved, bytes);
}

void options_parse(const struct program *p, int argc, char **argv, int *operands)
{
    int words = 0; /* operands before argv[i] */
    bool only_operands = false;
    warn_set_name(p->name);
    if (isa_check() < 0)
        options_reject("%s", fail_message());
    for (int i = 1; i < argc;) {
        int taken = 1;
        if (only_operands || argv[i][0] != '-' || !argv[i][1]) {
            words++;
            i++;
            continue;
        }
        if (!strcmp(argv[i], "--"))
            only_operands = true;
        else
            taken = take_option(p, argv + i, operands != NULL);
        move_before(argv + i, taken, words);
        i += taken;
    }
    if (operands)
        *operands = argc - words;
    else if (words)
        options_reject("unexpected word '%s'", argv[argc - words]);
    read_environment(p);
}
