/* operation: what an augmentation is. Each augmentation has a file of its own, which defines a
 * struct operation. The two lists in operation.c name all operations, on images and on series. The
 * syntax of --ops, drawing, computing, the trace, --help and the choices of --target follow from
 * these structs, so a new augmentation is one new file and one new row there.
 *
 * A view is made in three steps: policy_parse() reads a list of operations (policy.h), view_draw()
 * draws the values for one view, and view_apply() computes its pixels (view.h). */
#ifndef OPERATION_H
#define OPERATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "data/image.h"

enum {
    OPERATION_MAX_PARAMETERS = 3,
    OPERATION_MAX_LIST = 16,  /* numbers in a drawn list */
    OPERATION_MAX_DRAWN = 144 /* bytes of an operation's drawn values */
};

/* ---- the parts of struct operation ---- */

/* One of the values that may follow the operation's name in a list, each after a colon. */
struct operation_parameter {
    const char *meaning; /* for --help: "sigma in pixels"; NULL ends the parameters */
    enum parameter_kind {
        PARAMETER_PROBABILITY, /* of applying the operation to a view, from 0 to 1 */
        PARAMETER_NUMBER,
        PARAMETER_RANGE, /* "0.1-2", or "0.5" for 0.5-0.5 */
        PARAMETER_COUNTS /* a range of whole numbers */
    } kind;
    double low, high; /* the default; a probability or a number only uses low */
    double min, max;  /* the range that is accepted; not used for a probability */
};

/* An operation in a list, as parsed. */
struct operation_use {
    const struct operation *operation;
    double p; /* the probability that it is applied */
    struct operation_range {
        double low, high;               /* equal for a number */
    } values[OPERATION_MAX_PARAMETERS]; /* by parameter; that of the probability is not used */
};

/* The circumstances for which an operation's values are drawn. */
struct operation_context {
    int width, height;     /* of the image; for a series, its steps and 1 */
    int size;              /* of the view: pixels a side, or steps */
    int place;             /* of the operation in its list, from 0 */
    struct random *random; /* the view's own stream */
};

/* A list of numbers, as a drawn value. */
struct operation_list {
    int n, items[OPERATION_MAX_LIST];
};

/* Describes a drawn value: a member of the operation's own struct, which --trace shows under this
 * name. */
struct operation_field {
    const char *name; /* NULL ends the fields */
    enum field_type {
        FIELD_INT,   /* int */
        FIELD_FLOAT, /* float */
        FIELD_WORDS, /* uint32_t [count], shown as an array */
        FIELD_LIST   /* struct operation_list, shown as an array */
    } type;
    size_t offset;            /* in the operation's struct */
    int count;                /* number of words */
    const char *const *names; /* shown in place of a list's numbers; may be NULL */
};

/* The view on which operations work. Between operations its values are float32. */
struct operation_canvas {
    float *x;       /* images: F32 (channels,size,size) in [0,1]; series: F32 (size,channels) */
    size_t n;       /* images: values of one plane, size x size; series: all values */
    int size;       /* pixels a side, or steps */
    int channels;   /* 3 for images with colours */
    float *scratch; /* the floats that scratch() asked for, aligned to 64 bytes */
    const struct scaled_image *image; /* the source of the view; the pixels of a series are its
                                         values, F32 (width,channels), and its height is 1 */
};

/* ---- an operation ---- */

struct operation {
    const char *name; /* "blur" */
    const char *note; /* for --help, after the meanings of the parameters; may be NULL */
    struct operation_parameter parameters[OPERATION_MAX_PARAMETERS];

    /* If `first` is set, the operation decides which part of the image the view shows. It must come
     * first in a list, its drawn values are a struct box, and if it is not applied, the view shows
     * the whole image. A list that begins with an `evaluation` operation is for evaluation, in
     * which data keeps its order and nothing is dropped. */
    bool first, evaluation;
    bool colours; /* it computes with red, green and blue, so it needs images of 3 channels */

    /* Draws the values for a view into the operation's own struct, which is all zeros (or the box
     * of the whole image) before. It is NULL if there is nothing to draw. The number and the order
     * of the random numbers that it uses are part of every result, so they must not change. */
    void (*draw)(const struct operation_use *use, const struct operation_context *context,
                 void *drawn);
    size_t drawn_size;                    /* of that struct; at most OPERATION_MAX_DRAWN */
    const struct operation_field *fields; /* its members, in the trace's order; NULL: none */

    /* Computes the view in place from the drawn values. The first operation fills canvas->x from
     * canvas->image. The function must not allocate, and must compute the same on any machine. */
    void (*apply)(const void *drawn, const struct operation_canvas *canvas);
    /* Returns the number of floats of scratch memory that apply() needs. NULL: none. */
    size_t (*scratch)(const void *drawn, const struct operation_canvas *canvas);

    /* As a label (--target), 0 means that an operation was not applied. If an applied operation has
     * n_outcomes possible outcomes, outcome() returns which of them this is, from 1 on. It is NULL
     * if there is only one. */
    int n_outcomes;
    int64_t (*outcome)(const void *drawn);
};

/* The operations on one kind of data. */
struct operation_set {
    const char *data;                          /* "images" */
    const struct operation *const *operations; /* NULL ends the list */
};

extern const struct operation_set operations_on_images, operations_on_series;

/* Returns the operation whose name is the `length` characters at `name`, or NULL. */
const struct operation *operation_find(const struct operation_set *set, const char *name,
                                       size_t length);

/* ---- for operations ---- */

/* A rectangle of pixels inside an image, with w and h at least 1. For a series, w steps from x on,
 * with y 0 and h 1. */
struct box {
    int x, y, w, h;
};

/* The fields of a drawn struct box: x, y, w and h for images; start and length for series. */
extern const struct operation_field operation_box_fields[], operation_run_fields[];

/* Returns a number drawn uniformly from the range of that parameter. */
double operation_draw(const struct operation_use *use, int parameter, struct random *random);

/* Returns a run of steps at a random place among n steps. Its fraction of the n steps is drawn
 * uniformly from the range of that parameter, and its length is rounded. It has at least `least`
 * steps, or n if n is smaller. */
struct box operation_draw_run(const struct operation_use *use, int parameter, int n, int least,
                              struct random *random);

#endif
