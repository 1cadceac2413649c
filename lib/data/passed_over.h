/* passed_over: what lies in a data set and is not read, counted by kind and told in one line:
 * "augment: photos: not read: 5 .webp, 10 images beside the folders of classes". */
#ifndef PASSED_OVER_H
#define PASSED_OVER_H

#include <stdbool.h>
#include <stdint.h>

enum { PASSED_KINDS = 64, PASSED_KIND_BYTES = 64 };

struct passed_kind {
    char name[PASSED_KIND_BYTES];
    int64_t n;
};

/* Start with {0}. */
struct passed_over {
    struct passed_kind kinds[PASSED_KINDS];
    int n_kinds;
    int64_t others; /* of kinds that have no room */
};

/* Counts n things of a kind, as it should stand after a number. */
void passed_over_add(struct passed_over *p, const char *kind, int64_t n);
/* Counts a file that is no image by what its name ends in. */
void passed_over_file(struct passed_over *p, const char *name);
enum { PASSED_TEXT = 1024 };
/* Writes "5 .webp, 4 .gif", the most frequent kinds first, into PASSED_TEXT bytes; "": nothing. */
void passed_over_text(struct passed_over *p, char *text);
/* Tells it on stderr, unless there is nothing to tell. */
void passed_over_tell(struct passed_over *p, const char *where);

#endif
