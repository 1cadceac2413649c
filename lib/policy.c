#include "policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blur.h"
#include "clones.h"
#include "color.h"
#include "fail.h"

static const struct {
    const char *name, *ops;
} policies[] = {
    {"simclr", "crop:0.08-1,flip:0.5,jitter:0.8:1,gray:0.2,blur:0.5:0.1-2"},
    {"simclr-cifar", "crop:0.08-1,flip:0.5,jitter:0.8:0.5,gray:0.2"},
    {"eval", "center"},
};

const char *policy_ops(const char *name)
{
    for (size_t i = 0; i < sizeof policies / sizeof policies[0]; i++)
        if (strcmp(policies[i].name, name) == 0)
            return policies[i].ops;
    return NULL;
}

/* ---- parsing ---- */

/* What may follow an operation's name, in this order, each after a colon. */
enum argument { ARG_END, ARG_PROBABILITY, ARG_RANGE, ARG_STRENGTH };

static const struct {
    const char *name;
    enum argument arguments[3];
    struct op defaults;
    double min, max; /* of the range or the strength */
} op_table[OP_COUNT] = {
    [OP_CROP] = {"crop", {ARG_RANGE}, {OP_CROP, .p = 1, .low = 0.08, .high = 1}, 1e-6, 1},
    [OP_CENTER] = {"center", {ARG_END}, {OP_CENTER, .p = 1}, 0, 0},
    [OP_FLIP] = {"flip", {ARG_PROBABILITY}, {OP_FLIP, .p = 0.5}, 0, 0},
    /* A hue range of 0.2 x 2.5 is the whole circle. */
    [OP_JITTER] =
        {"jitter", {ARG_PROBABILITY, ARG_STRENGTH}, {OP_JITTER, .p = 0.8, .strength = 1}, 0, 2.5},
    [OP_GRAY] = {"gray", {ARG_PROBABILITY}, {OP_GRAY, .p = 0.2}, 0, 0},
    [OP_BLUR] = {"blur",
                 {ARG_PROBABILITY, ARG_RANGE},
                 {OP_BLUR, .p = 0.5, .low = 0.1, .high = 2},
                 1e-3,
                 1000},
};

/* Reads a number of [min,max] at *text and moves past it. */
static int parse_number(const char **text, double min, double max, const char *op, double *out)
{
    char *end;
    const double x = strtod(*text, &end);
    if (end == *text)
        return fail("%s: '%s' is not a number", op, *text);
    if (!(x >= min && x <= max))
        return fail("%s: %.*s is not between %g and %g", op, (int)(end - *text), *text, min, max);
    *text = end;
    *out = x;
    return 0;
}

static int parse_argument(const char **text, enum argument argument, struct op *op)
{
    const char *name = op_table[op->kind].name;
    const double min = op_table[op->kind].min, max = op_table[op->kind].max;
    switch (argument) {
    case ARG_PROBABILITY:
        return parse_number(text, 0, 1, name, &op->p);
    case ARG_STRENGTH:
        return parse_number(text, min, max, name, &op->strength);
    case ARG_RANGE:
        if (parse_number(text, min, max, name, &op->low))
            return -1;
        op->high = op->low;
        if (**text == '-') {
            ++*text;
            if (parse_number(text, min, max, name, &op->high))
                return -1;
        }
        return op->low <= op->high ? 0 : fail("%s: %g-%g runs backward", name, op->low, op->high);
    case ARG_END:
        break;
    }
    return fail("%s: ':%s' is one argument too many", name, *text);
}

/* Reads one operation, up to a comma or the end. */
static int parse_op(const char **text, struct op *op)
{
    const size_t length = strcspn(*text, ":,");
    int kind = 0;
    while (kind < OP_COUNT && (strlen(op_table[kind].name) != length ||
                               strncmp(op_table[kind].name, *text, length) != 0))
        kind++;
    if (kind == OP_COUNT) {
        char known[128] = "";
        for (int i = 0; i < OP_COUNT; i++) {
            const size_t used = strlen(known);
            snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", op_table[i].name);
        }
        return fail("unknown operation '%.*s' (there are %s)", (int)length, *text, known);
    }
    *op = op_table[kind].defaults;
    *text += length;
    for (int i = 0; **text == ':'; i++) {
        ++*text;
        if (parse_argument(text, i < 3 ? op_table[kind].arguments[i] : ARG_END, op))
            return -1;
    }
    if (**text != ',' && **text != '\0')
        return fail("%s: cannot make sense of '%s'", op_table[kind].name, *text);
    return 0;
}

int policy_parse(struct policy *policy, const char *ops)
{
    const char *text = ops;
    policy->n_ops = 0;
    for (;;) {
        struct op op;
        if (parse_op(&text, &op))
            return -1;
        const bool is_box = op.kind == OP_CROP || op.kind == OP_CENTER;
        if (is_box && policy->n_ops > 0)
            return fail("%s has to come first", op_table[op.kind].name);
        if (!is_box && policy->n_ops == 0)
            policy->ops[policy->n_ops++] = (struct op){OP_CROP, .p = 1, .low = INFINITY};
        if (policy->n_ops == POLICY_MAX_OPS)
            return fail("more than %d operations", POLICY_MAX_OPS);
        policy->ops[policy->n_ops++] = op;
        if (*text == '\0')
            return 0;
        text++;
    }
}

bool policy_is_evaluation(const struct policy *policy)
{
    return policy->ops[0].kind == OP_CENTER;
}

/* ---- drawing ---- */

static struct box draw_crop(const struct op *op, int width, int height, struct random *r)
{
    const double ratio_low = 3.0 / 4.0, ratio_high = 4.0 / 3.0;
    const double area = (double)width * height;
    struct box box = {0, 0, width, height};
    if (isinf(op->low))
        return box;
    for (int attempt = 0; attempt < 10; attempt++) {
        const double target = area * random_uniform(r, op->low, op->high);
        const double ratio = exp(random_uniform(r, log(ratio_low), log(ratio_high)));
        const double w = rint(sqrt(target * ratio)), h = rint(sqrt(target / ratio));
        if (w >= 1 && w <= width && h >= 1 && h <= height) {
            box.w = (int)w;
            box.h = (int)h;
            box.y = (int)random_below(r, (uint64_t)(height - box.h + 1));
            box.x = (int)random_below(r, (uint64_t)(width - box.w + 1));
            return box;
        }
    }
    const double ratio = (double)width / height;
    if (ratio < ratio_low)
        box.h = (int)rint(width / ratio_low);
    else if (ratio > ratio_high)
        box.w = (int)rint(height * ratio_high);
    box.x = (width - box.w) / 2;
    box.y = (height - box.h) / 2;
    return box;
}

/* Small views show the whole image, larger ones the central square of 87.5% of the shorter side. */
static struct box center_box(int width, int height, int size)
{
    if (size <= 64)
        return (struct box){0, 0, width, height};
    const int shorter = width < height ? width : height;
    const int side = shorter < 2 ? 1 : (int)rint(0.875 * shorter);
    return (struct box){(width - side) / 2, (height - side) / 2, side, side};
}

static void draw_jitter(struct applied *a, const struct op *op, struct random *r)
{
    int64_t order[JITTER_COUNT];
    random_permutation(r, order, JITTER_COUNT);
    const double spread = 0.8 * op->strength, turn = 0.2 * op->strength;
    for (int i = 0; i < JITTER_COUNT; i++) {
        a->order[i] = (enum jitter)order[i];
        a->factors[i] =
            (float)(i == JITTER_HUE ? random_uniform(r, -turn, turn)
                                    : random_uniform(r, fmax(0, 1 - spread), 1 + spread));
    }
}

void view_draw(struct view *view, const struct policy *policy, int width, int height, int size,
               struct random *r)
{
    view->n_ops = 0;
    for (int i = 0; i < policy->n_ops; i++) {
        const struct op *op = &policy->ops[i];
        if (!random_chance(r, op->p))
            continue;
        struct applied a = {.kind = op->kind};
        if (op->kind == OP_CROP)
            a.box = draw_crop(op, width, height, r);
        else if (op->kind == OP_CENTER)
            a.box = center_box(width, height, size);
        else if (op->kind == OP_JITTER)
            draw_jitter(&a, op, r);
        else if (op->kind == OP_BLUR) {
            a.sigma = (float)random_uniform(r, op->low, op->high);
            a.kernel = blur_kernel(size);
        }
        view->ops[view->n_ops++] = a;
    }
}

/* ---- applying ---- */

static void flip(float *planes, int size)
{
    for (int row = 0; row < 3 * size; row++) {
        float *x = planes + (size_t)row * (size_t)size;
        for (int i = 0, j = size - 1; i < j; i++, j--) {
            const float t = x[i];
            x[i] = x[j];
            x[j] = t;
        }
    }
}

static void jitter(const struct applied *a, float *planes, size_t n)
{
    for (int i = 0; i < JITTER_COUNT; i++) {
        const float factor = a->factors[a->order[i]];
        switch (a->order[i]) {
        case JITTER_BRIGHTNESS:
            color_brightness(planes, n, factor);
            break;
        case JITTER_CONTRAST:
            color_contrast(planes, n, factor);
            break;
        case JITTER_SATURATION:
            color_saturation(planes, n, factor);
            break;
        case JITTER_HUE:
            color_hue(planes, n, factor);
            break;
        case JITTER_COUNT:
            break;
        }
    }
}

/* planes (3,n) -> out (n,3) */
CLONES
static void quantize(const float *restrict planes, size_t n, uint8_t *restrict out)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++)
            out[3 * i + c] = (uint8_t)(int)(planes[c * n + i] * 255 + 0.5f);
}

void view_memory_free(struct view_memory *memory)
{
    free(memory->floats);
    *memory = (struct view_memory){0};
}

/* Sides are at most 2^15 and size at most 2^12, so nothing here overflows. */
static int reserve(struct view_memory *memory, int width, int height, int size)
{
    const size_t for_crop = resample_scratch(width, height, size);
    const size_t for_blur = blur_scratch(size, blur_kernel(size));
    const size_t planes = 3 * (size_t)size * (size_t)size;
    const size_t need = planes + (for_crop > for_blur ? for_crop : for_blur);
    if (need <= memory->count)
        return 0;
    float *floats = aligned_alloc(64, (need * sizeof *floats + 63) / 64 * 64);
    if (!floats)
        return fail("out of memory for a %d x %d image", width, height);
    free(memory->floats);
    *memory = (struct view_memory){floats, need};
    return 0;
}

int view_apply(const struct view *view, const uint8_t *pixels, int width, int height, int size,
               struct view_memory *memory, uint8_t *out)
{
    if (reserve(memory, width, height, size))
        return -1;
    const size_t n = (size_t)size * (size_t)size;
    float *planes = memory->floats, *scratch = planes + 3 * n;
    for (int i = 0; i < view->n_ops; i++) {
        const struct applied *a = &view->ops[i];
        switch (a->kind) {
        case OP_CROP:
        case OP_CENTER:
            resample_bicubic(pixels, width, height, a->box, size, planes, scratch);
            break;
        case OP_FLIP:
            flip(planes, size);
            break;
        case OP_JITTER:
            jitter(a, planes, n);
            break;
        case OP_GRAY:
            color_gray(planes, n);
            break;
        case OP_BLUR:
            blur_gaussian(planes, size, a->kernel, a->sigma, scratch);
            break;
        case OP_COUNT:
            break;
        }
    }
    quantize(planes, n, out);
    return 0;
}
