/* policy: which operations make a view of an image, and with what probabilities.
 *
 * Three steps: policy_parse() reads a list of operations, view_draw() draws what one view needs
 * from it, view_apply() computes the pixels. What was drawn lies open in between, for --trace and
 * for tests. Defaults and ranges are those of SimCLR (Chen et al. 2020, appendix A). */
#ifndef POLICY_H
#define POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "data/image.h"
#include "views/color.h"
#include "views/resample.h"

enum { POLICY_MAX_OPS = 16, POLICY_MAX_SIZE = 4096, POLICY_MAX_SEGMENTS = 16 };

enum op_kind {
    OP_CROP,
    OP_CENTER,
    OP_FLIP,
    OP_JITTER,
    OP_GRAY,
    OP_BLUR,
    OP_SOLARIZE,
    OP_CUTOUT,
    OP_ROTATE,
    OP_NOISE,
    OP_SOBEL,
    OP_COUNT
};

struct op {
    int kind; /* enum op_kind; of series, enum series_op (series.h) */
    double p; /* probability that it is applied; a crop that is not takes the whole image */
    /* crop: share of the image's area; blur: sigma in pixels; cutout: side, as a share of the
     * view's; noise: sigma, where white is 1; of series see series.h */
    double low, high;
    double aspect_low, aspect_high; /* crop: width / height */
    double strength;  /* jitter: brightness, contrast, saturation 0.8 x this, hue 0.2 x this */
    double threshold; /* solarize: values from it on are inverted */
};

struct policy {
    struct op ops[POLICY_MAX_OPS]; /* applied in order; the first is OP_CROP or OP_CENTER */
    int n_ops;
};

/* The operations that there are for a kind of data: their names, and what may follow these, each
 * after a colon. A table's first two are the crop and the whole, OP_CROP and OP_CENTER. */
enum argument {
    ARG_END,
    ARG_PROBABILITY,
    ARG_RANGE,
    ARG_COUNTS, /* a range of whole numbers */
    ARG_ASPECT,
    ARG_STRENGTH,
    ARG_THRESHOLD,
};
enum { POLICY_MAX_ARGUMENTS = 3 };

struct op_table {
    const struct op_syntax {
        const char *name;
        enum argument arguments[POLICY_MAX_ARGUMENTS];
        struct op defaults;
        double min, max; /* of the range, the strength or the threshold */
    } * ops;             /* by kind */
    int n_ops;
    const struct named_policy {
        const char *name, *ops;
    } * policies;
    int n_policies;
};

extern const struct op_table image_ops; /* series_ops is in series.h */

/* The list of operations behind a policy's name, or NULL: of images "simclr", "simclr-cifar" and
 * "eval". */
const char *policy_ops(const char *name);
const char *policy_ops_from(const struct op_table *table, const char *name);

/* Reads "crop:0.08-1,flip:0.5,jitter:0.8:0.5,gray:0.2"; arguments that are left out take their
 * defaults. A policy's name stands for its list: "simclr,solarize:0.2". A list without crop and
 * center begins with the whole image. -1 with a message that names the unknown operation and the
 * known ones, or the argument that is out of range. */
int policy_parse(struct policy *policy, const char *ops); /* of images */
int policy_parse_from(const struct op_table *table, struct policy *policy, const char *ops);

/* A list with `center` is for evaluation: data keeps its order and nothing is dropped. */
bool policy_is_evaluation(const struct policy *policy);

/* The operation of that name, if its outcome can be a view's label: it stands in the list once, may
 * come out in more than one way, and is neither crop nor center. -1 with a message. */
int policy_target(const struct policy *policy, const char *name);

/* An operation that is applied to one view, with all that was drawn for it. */
struct applied {
    int kind; /* as in struct op */
    /* crop, center: of the image; cutout: of the view; of series x and w are steps: crop, center:
     * of the series; mask: of the view */
    struct box box;
    float factors[JITTER_COUNT]; /* jitter, by enum jitter */
    enum jitter order[JITTER_COUNT];
    float sigma;                 /* blur, noise */
    int kernel;                  /* blur */
    float threshold;             /* solarize */
    int quarters;                /* rotate: of a turn, counterclockwise, 1 to 3 */
    uint32_t counter[4], key[2]; /* noise, jitter of series: see noise.h */
    /* Of series. scaling; trend; permutation, whose segment k is from step cuts[k] to cuts[k + 1],
     * and which follow one another in that order */
    float factor, offset, slope;
    int n_segments, cuts[POLICY_MAX_SEGMENTS + 1];
    int64_t order_of_segments[POLICY_MAX_SEGMENTS];
};

struct view {
    struct applied ops[POLICY_MAX_OPS];
    int n_ops;
    bool series;   /* drawn by series_draw() */
    int reduction; /* 1; d where it is made of the image decoded at 1/d, which the caller notes */
};

/* Draws a size x size view of a width x height image.
 *
 * A crop's box follows torchvision's RandomResizedCrop: ten tries, then the central crop that fits
 * the aspect ratio. A cutout's box is a square around any pixel of the view, cut off at the view's
 * border (DeVries and Taylor 2017). Noise takes the stream of r's name for RANDOM_PIXELS, from
 * block 2^28 x (the operation's place in the list) on. */
void view_draw(struct view *view, const struct policy *policy, int width, int height, int size,
               struct random *r);

/* How an operation came out in a view: rotate's quarters, 0 to 3; of others 1 if it was applied. */
int64_t view_outcome(const struct view *view, enum op_kind kind);

/* For operations that add noise: draws sigma, and finds key and counter. place: the operation's, in
 * the policy. */
void policy_draw_noise(struct applied *a, const struct op *op, int place, struct random *r);

/* Memory that view_apply() works in, one a thread; it grows with the largest image seen. Start
 * with {0}. */
struct view_memory {
    float *floats;
    size_t count;
};
void view_memory_free(struct view_memory *memory);

/* The least scale that leaves every crop of a view at least as many pixels as the view has; above 1
 * for crops that are smaller. */
double view_scale_needed(const struct view *view, int size);

/* image -> out U8 (size,size,3). Values are float32 between operations and rounded once. -1: memory
 * is out. */
int view_apply(const struct view *view, const struct scaled_image *image, int size,
               struct view_memory *memory, uint8_t *out);

#endif
