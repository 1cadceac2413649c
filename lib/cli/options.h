/* options: parses flags, checks them and prints --help, all from tables.
 *
 * An option is long and has one value (--batch 64 or --batch=64); a switch has no value. Names are
 * given in full: --temp is not --temperature, because it could mean another option in the next
 * version. An unknown name or choice is answered by the nearest one (nearest.h). Options may come
 * after operands; all words after -- are operands.
 *
 * An option's default is the value of its variable before parsing. --help prints the default, unless
 * it is a number outside the option's bounds. Such an option has no default, and `help` should say
 * what happens without the flag. A default that depends on the machine is written into `help`, which
 * then ends with it in brackets. Wrong usage prints one line to stderr and ends the program with
 * status 2. --help and -h print to stdout and end it with status 0.
 *
 * --option-table, which --help does not show, prints the same for machines: the manual pages and the
 * completion of shells are made from it. Each option is a line of five columns, which tabs separate:
 *
 *   name      without the dashes; empty for a heading
 *   kind      string, int, bytes, double, switch, choice, variable or heading
 *   argument  the value's name, as in --help ("FILE"); the choices ("a|b|c"); empty for a switch
 *   default   empty if there is none
 *   help      the text of --help without the default; the text of a heading */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

/* One row of a table of options: a flag, or a heading between flags. */
struct option_spec {
    const char *name; /* without the dashes; NULL, except at a heading, ends a table */
    enum option_kind {
        OPTION_STRING, /* const char *; "" or NULL means no default */
        OPTION_INT,    /* int64_t, between min and max */
        OPTION_BYTES,  /* int64_t, as OPTION_INT; "64K", "1.5G": K, M, G are 1024, 1024^2, 1024^3 */
        OPTION_DOUBLE, /* double, finite, between min and max */
        OPTION_SWITCH, /* bool, no value */
        OPTION_CHOICE, /* const char *, one of `choices` ("a|b|c") */
        OPTION_VARIABLE, /* as OPTION_STRING; while it is empty after parsing, it gets the value of
                          * the environment variable that `choices` names */
        OPTION_HEADING   /* not a flag: `help` is a line between groups of flags */
    } kind;
    void *value;
    const char *argument; /* the value's name in --help: "FILE" */
    const char *help;     /* one line without tabs; --help adds the default */
    double min, max;      /* if both are 0, there are no bounds */
    const char *choices;
    bool *given; /* set to true when the flag is given; may be NULL */
};

/* The description of a program, for parsing and for --help. */
struct program {
    const char *name;    /* "ntxent" */
    const char *summary; /* one line that says what it does */
    const char *details; /* frames read and written, an example; at most 80 columns */
    const struct option_spec *options[7]; /* tables, its own and shared ones; NULL ends them */
};

/* Parses argv. Operands (words without a dash) are wrong usage if `operands` is NULL. Otherwise
 * *operands becomes the index of the first one, and argv is permuted so that they come last. Also
 * sets the name that lines on stderr begin with (warn.h). */
void options_parse(const struct program *program, int argc, char **argv, int *operands);

/* Rejects the command line for a reason that is found after parsing. Prints "program: reason" with
 * a hint at --help, and ends the program with status 2. */
void options_reject(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
