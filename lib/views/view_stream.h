/* view_stream: the frames of views of a run, one after the other, with the policies that make them,
 * their labels and metadata, and the trace of what was drawn.
 *
 * Call view_stream_parse() first, which needs no data, then view_stream_check(), then
 * view_stream_open() when the data source is open. */
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
    /* The caller fills these in, and keeps what the pointers point to until view_stream_close(). */
    struct data_source *images; /* may also be series */
    const char *policy, *ops;   /* a policy's name, or a list of operations; both "": the default */
    const char *ops2;           /* the list for every view but the first; "": the same list */
    const char *target;         /* the operation whose outcome is the label y, or "class" */
    const char *trace;          /* a file, or "" */
    int64_t n_views;            /* number of views of an image */
    int64_t size;               /* pixels a side or steps; 0: view_stream_open() decides */
    int64_t n_threads;
    const char *pixels;   /* "rgb": x is U8 RGB; "raw": F32 of the images' own channels; "auto": raw
                             if the first image of the set has neither colours nor grey */
    bool orient, reduced; /* see augment.h */
    bool sharded;         /* the metadata contain the rank and the number of ranks */
    int64_t start;        /* the step to begin at */
    int64_t turn, turns;  /* makes only the steps start + turn, start + turn + turns, ... */
    /* view_stream_parse() sets these. */
    const struct operation_set *operations; /* on images, or on series */
    struct policy policies[2];              /* for the first view, and, from ops2, for the others */
    /* These are the module's own. */
    const struct operation *outcome; /* the target; NULL: y is the class */
    int raw;                         /* channels of x if it has floats; 0: RGB of 8 bits */
    struct image_cache *cache;
    struct augment augment;
    struct view *drawn; /* [batch][n_views]; used only for a trace or a target */
    FILE *trace_file;
    int64_t step; /* of the next frame */
    bool named;   /* the first frame, which has the names of the classes, was made */
};

/* Reads the lists of operations. The default is simclr, or simclr-series for series; for images of
 * up to 64 pixels, view_stream_open() replaces simclr by simclr-cifar. The default is never a
 * policy for evaluation. Finds out the kind of the data images->data, but does not open it. Returns
 * -1 with a message on failure. */
int view_stream_parse(struct view_stream *v);

/* Checks that ops2 and target agree with n_views and the other settings. Returns -1 with a message
 * if they do not. */
int view_stream_check(struct view_stream *v);

/* Opens the trace, and decides the channels and the size. It refuses operations on colours for images
 * of other than 3 channels. For images this is their own size if most images of a
 * sample are square and have up to 64 pixels a side, else 224; for series it is their length. A
 * line on stderr reports it if not all images of the sample agree. Call the function after
 * data_source_open(). Returns -1 with a message on failure. The caller calls view_stream_close() in
 * any case, before data_source_close(). */
int view_stream_open(struct view_stream *v);

/* Makes the frame of the next step. It is a prefetch_make function (prefetch.h), whose `user` is
 * the stream. */
enum prefetch_result view_stream_next(void *user, const atomic_bool *stop, struct frame **out);

/* Completes the trace. Returns -1 with a message if it could not be written. */
int view_stream_end(struct view_stream *v);
void view_stream_close(struct view_stream *v);

#endif
