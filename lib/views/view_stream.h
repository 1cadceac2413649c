/* view_stream: the frames of views of a run, one after the other: which operations make them, what
 * their labels and metadata say, and the trace of what was drawn.
 *
 * Call view_stream_parse() first, which needs no data, then view_stream_check(), and when the data
 * source is open view_stream_open(). */
#ifndef VIEW_STREAM_H
#define VIEW_STREAM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "data/data_source.h"
#include "frame/frame.h"
#include "views/augment.h"
#include "views/image_cache.h"
#include "views/policy.h"
#include "views/prefetch.h"

struct view_stream {
    /* Filled by the caller, which keeps what the pointers point to until view_stream_close(). */
    struct data_source *images; /* or series */
    const char *policy, *ops;   /* a policy's name, or a list of operations; both "": the default */
    const char *ops2;           /* the list for every view but the first; "": the same one */
    const char *target;         /* the operation whose outcome is y, or "class" */
    const char *trace;          /* a file, or "" */
    int64_t n_views;            /* of an image */
    int64_t size;               /* their pixels or steps; 0: view_stream_open() decides */
    int64_t n_threads;
    bool orient, reduced; /* see augment.h */
    bool sharded;         /* metadata give the rank, and how many there are */
    int64_t start;        /* the step to begin at */
    int64_t turn, turns;  /* only the steps start + turn, start + turn + turns, ... */
    /* Set by view_stream_parse(). */
    const struct operation_set *operations; /* on images, or on series */
    struct policy policies[2];              /* of the first view, and, of ops2, of the others */
    /* Below: the module's own. */
    const struct operation *outcome; /* the target; NULL: y is the class */
    struct image_cache *cache;
    struct augment augment;
    struct view *drawn; /* [batch][n_views]; only for a trace or a target */
    FILE *trace_file;
    int64_t step; /* of the next frame */
    bool named;   /* the first frame, with the names of classes, was made */
};

/* Reads the lists of operations. The default is simclr, or simclr-series; view_stream_open() makes
 * it simclr-cifar for images of up to 64 pixels, so it is never one for evaluation. Looks at what
 * kind of data images->data is, but does not open it. -1 with a message. */
int view_stream_parse(struct view_stream *v);

/* Checks that ops2 and target go with n_views and the other settings. -1 with a message. */
int view_stream_check(struct view_stream *v);

/* Call it after data_source_open(). Opens the trace, and decides the size: if most images of a
 * sample are square and have up to 64 pixels a side, theirs, else 224; of series, their length. A
 * line on stderr says so if not all of the sample agree. -1 with a message. Call view_stream_close()
 * in any case, before data_source_close(). */
int view_stream_open(struct view_stream *v);

/* Makes the frame of the next step: a prefetch_make of prefetch.h, whose user is the stream. */
enum prefetch_result view_stream_next(void *user, const atomic_bool *stop, struct frame **out);

/* Completes the trace. -1 with a message if it could not be written. */
int view_stream_end(struct view_stream *v);
void view_stream_close(struct view_stream *v);

#endif
