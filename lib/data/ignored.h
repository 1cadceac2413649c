/* ignored: what a data set holds and does not read, counted by kind and reported in one line:
 * "augment: photos: not read: 5 .webp, 10 images beside the folders of classes". */
#ifndef IGNORED_H
#define IGNORED_H

#include <stdbool.h>
#include <stdint.h>

enum { IGNORED_KINDS = 64, IGNORED_KIND_BYTES = 64 };

struct ignored_kind {
    char name[IGNORED_KIND_BYTES];
    int64_t n;
};

/* Start with {0}. */
struct ignored {
    struct ignored_kind kinds[IGNORED_KINDS];
    int n_kinds;
    int64_t others; /* things of further kinds */
};

/* Counts n things of a kind, whose name reads well after a number. n may be 0. */
void ignored_add(struct ignored *p, const char *kind, int64_t n);
/* Counts a file that is no image, by the extension of its name. */
void ignored_add_file(struct ignored *p, const char *name);
enum { IGNORED_TEXT = 1024 };
/* Writes "5 .webp, 4 .gif", the most frequent kinds first, into IGNORED_TEXT bytes; "" if there is
 * nothing. Sorts the kinds. */
void ignored_text(struct ignored *p, char *text);
/* Prints them on stderr after `where`, unless there is nothing. */
void ignored_report(struct ignored *p, const char *where);

#endif
