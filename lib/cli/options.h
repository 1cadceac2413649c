/* options: parses flags, checks them and prints --help, all from tables.
 *
 * There are long options with one value each (--batch 64 or --batch=64), and switches without one.
 * A default is the value of the variable before parsing. --help prints it, unless it is a number
 * outside its option's bounds: the option then has no default, and `help` should say what happens
 * without the flag. Wrong usage prints one line to stderr and ends the program with status 2;
 * --help prints to stdout and ends it with 0. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

struct option_spec {
    const char *name; /* without the dashes; NULL without a heading ends a table */
    enum option_kind {
        OPTION_STRING, /* const char * ; "" or NULL shows as no default */
        OPTION_INT,    /* int64_t, between min and max */
        OPTION_BYTES,  /* int64_t, as OPTION_INT; "64K", "1.5G": K, M, G are 1024, 1024^2, 1024^3 */
        OPTION_DOUBLE, /* double, finite, between min and max */
        OPTION_SWITCH, /* bool, no value */
        OPTION_CHOICE, /* const char *, one of `choices` ("a|b|c") */
        OPTION_VARIABLE, /* as OPTION_STRING; while it is empty after parsing, it gets the value of
                          * the environment variable that `choices` names */
        OPTION_HEADING   /* no flag: `help` is a line of its own between groups */
    } kind;
    void *value;
    const char *argument; /* the value's name in --help: "FILE" */
    const char *help;     /* one line; --help adds the default */
    double min, max;      /* both 0: unbounded */
    const char *choices;
    bool *given; /* may be NULL: set when the flag was given */
};

struct program {
    const char *name;    /* "ntxent" */
    const char *summary; /* one line: what it does */
    const char *details; /* frames in, frames out, an example; lines of at most 80 columns */
    const struct option_spec *options[6]; /* tables, its own and shared ones; NULL ends them */
};

/* Parses argv. Operands (words without a dash) are wrong usage unless `operands` is not NULL; then
 * it gets the index of the first, and argv is permuted so that they come last. Sets the name that
 * lines on stderr begin with (warn.h). */
void options_parse(const struct program *program, int argc, char **argv, int *operands);

/* Rejects the command line for a reason that is found after parsing: prints "program: reason" with
 * a hint at --help, and ends the program with status 2. */
void options_reject(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
