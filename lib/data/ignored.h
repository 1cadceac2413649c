/* ignored: the contents of a data set that are not read, counted by kind and reported in one line:
 * "augment: photos: not read: 5 .gif, 10 images beside the folders of classes". */
#ifndef IGNORED_H
#define IGNORED_H

#include <stdbool.h>
#include <stdint.h>

enum { IGNORED_KINDS = 64, IGNORED_KIND_BYTES = 64 };

struct ignored_kind {
    char name[IGNORED_KIND_BYTES];
    int64_t n;
};

/* The counts, which start as {0}. */
struct ignored {
    struct ignored_kind kinds[IGNORED_KINDS];
    int n_kinds;
    int64_t others; /* number of things of further kinds */
};

/* Counts n things of a kind, whose name should read well after a number. n may be 0. */
void ignored_add(struct ignored *p, const char *kind, int64_t n);
/* Counts a file that is not an image, by the extension of its name. */
void ignored_add_file(struct ignored *p, const char *name);
enum { IGNORED_TEXT = 1024 };
/* Writes "5 .gif, 4 .psd", with the most frequent kinds first, into `text`, which has IGNORED_TEXT
 * bytes; writes "" if nothing was counted. Sorts the kinds. */
void ignored_text(struct ignored *p, char *text);
/* Prints the counts on stderr after `where`, unless nothing was counted. */
void ignored_report(struct ignored *p, const char *where);

#endif
