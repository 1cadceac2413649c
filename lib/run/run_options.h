/* run_options: the options that a training run was started with, stored in its folder as data.
 *
 * The file DIR/options has a line `--name value` for each option. In a value \\ stands for a
 * backslash and \n for a newline. Lines that begin with # are comments. Files of earlier
 * versions, which have lines name="value" as bash declares variables, can be read too. */
#ifndef RUN_OPTIONS_H
#define RUN_OPTIONS_H

#include <stdint.h>

/* A list of options. Initialize it with {0}; run_options_free() frees it. */
struct run_options {
    struct run_option {
        char *name, *value; /* "save-every", "100" */
    } * items;
    int n;
    int64_t capacity;
};

/* Reads the file at `path`; "-" is stdin. Returns -1 with a message that names the line if the file
 * is damaged or has no options. */
int run_options_read(struct run_options *o, const char *path);
/* Writes the file atomically. Returns -1 with a message. */
int run_options_write(const struct run_options *o, const char *path);
void run_options_free(struct run_options *o); /* leaves {0} */

/* Returns the value of an option, which `o` owns, or NULL. */
const char *run_options_get(const struct run_options *o, const char *name);
/* Adds or replaces an option; a value of NULL removes it. Returns -1 with a message if memory is
 * out. */
int run_options_set(struct run_options *o, const char *name, const char *value);

/* The options that may differ when a run is resumed, as lists of names separated by blanks. */
struct run_changes {
    const char *free;     /* options that may have any value */
    const char *raised;   /* options that may become larger numbers */
    const char *commands; /* commands, in which the number after --threads may differ */
};

/* Checks the options `now` of a resumed run against its options `before`, and adds to `now` those
 * that only `before` has. Returns -1 with a message that names the first option that differs but
 * must not. `steps` is the length of the run according to its state. If a raised option was 0,
 * which means that it was not set, its new value is compared with `steps`. Calls report(), unless
 * it is NULL, for each option that was raised, and counts them in *raised. */
int run_options_compare(const struct run_options *before, struct run_options *now,
                        const struct run_changes *changes, long long steps, const char *folder,
                        void (*report)(const char *name, const char *before, const char *now),
                        int *raised);

#endif
