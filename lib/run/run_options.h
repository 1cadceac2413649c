/* run_options: what a training run was started with, kept in its folder and read as data.
 *
 * The file DIR/options has a line for each option, `--name value`; in a value \\ is a backslash and
 * \n a newline. Lines that begin with # are comments. The form of earlier versions, name="value" as
 * bash declares it, is read as well. */
#ifndef RUN_OPTIONS_H
#define RUN_OPTIONS_H

struct run_options {
    struct run_option {
        char *name, *value; /* "save-every", "100" */
    } * items;
    int n;
};

/* Reads a file, "-" being stdin. -1 with a message that names the line. */
int run_options_read(struct run_options *o, const char *path);
/* Writes it, atomically. -1 with a message. */
int run_options_write(const struct run_options *o, const char *path);
void run_options_free(struct run_options *o);

/* The value, or NULL. */
const char *run_options_get(const struct run_options *o, const char *name);
/* Adds or replaces one; value NULL removes it. -1 with a message: memory is out. */
int run_options_set(struct run_options *o, const char *name, const char *value);

/* Which options may differ when a run goes on, as lists of names with blanks between them. */
struct run_changes {
    const char *free;     /* these, at will */
    const char *raised;   /* these, to larger numbers */
    const char *commands; /* these in the number behind --threads */
};

/* Adds to `now` what only `before` has. -1 with a message that names the first option that may not
 * differ and does. `steps` is how many the state says that the run has, and what a raised option
 * that was 0, which stands for none, is compared with. Each one that was raised is reported by
 * calling tell(), which may be NULL; *raised counts them. */
int run_options_compare(const struct run_options *before, struct run_options *now,
                        const struct run_changes *changes, long long steps, const char *folder,
                        void (*tell)(const char *name, const char *before, const char *now),
                        int *raised);

#endif
