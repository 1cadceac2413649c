/* views: a run's frames of views, one after the other: which operations make them, what their
 * labels and their metadata say, and the trace of all that was drawn.
 *
 * First views_parse(), which needs no data; then views_check(), and views_open() when the images
 * are there. */
#ifndef VIEWS_H
#define VIEWS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "data/data_source.h"
#include "frame/frame.h"
#include "views/augment.h"
#include "views/image_cache.h"
#include "views/policy.h"

struct views {
    /* Filled by the caller. */
    struct data_source *images;
    const char *policy, *ops; /* a policy's name or a list of operations; both "": the default */
    const char *ops2;         /* of every view but the first; "": the same */
    const char *target;       /* the operation that y tells of, or "class" */
    const char *trace;        /* a file, or "" */
    int64_t n_views;          /* of an image */
    int64_t size;             /* their pixels or steps; 0: views_open() decides */
    int64_t n_threads;
    bool orient, reduced; /* see augment.h */
    bool sharded;         /* metadata tell the rank, and how many there are */
    int64_t start;        /* the step to begin at */
    int64_t turn, turns;  /* only steps start + turn, start + turn + turns, ... */
    /* Set by views_parse(). */
    bool series;               /* not images */
    struct policy policies[2]; /* of the first view, and, of ops2, of the others */
    /* Below: the module's own. */
    int outcome; /* enum op_kind of target; -1: y is the class */
    struct image_cache *keep;
    struct augment augment;
    struct view *drawn; /* a batch's; only for the trace and a target */
    FILE *trace_file;
    int64_t step; /* of the next frame */
    bool named;   /* the first frame, with the names of classes, was made */
};

/* Reads the lists of operations. The default is simclr, or simclr-series; views_open() makes it
 * simclr-cifar for images of up to 64 pixels, so it is never one for evaluation. Looks at what
 * images->data is, but does not open it. -1 with a message. */
int views_parse(struct views *v);

/* Do ops2 and target go with n_views and the other settings? -1 with a message. */
int views_check(struct views *v);

/* After data_source_open(). Opens the trace. Views are as large as most images of a sample if
 * these are square and of up to 64 pixels, else 224 pixels, and as long as series; where not all of
 * the sample agree, a line on stderr says so. -1 with a message. views_close() in any case,
 * before data_source_close(). */
int views_open(struct views *v);

/* The frame of the next step: as prefetch_make() of prefetch.h; user is the struct views. */
int views_next(void *user, const atomic_bool *stop, struct frame **out);

/* The trace is complete: -1 with a message if it could not be written. */
int views_end(struct views *v);
void views_close(struct views *v);

#endif
