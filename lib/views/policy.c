#include "views/policy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/image.h"
#include "views/blur.h"
#include "views/geometry.h"
#include "views/noise.h"
#include "views/sobel.h"

static const struct named_policy policies[] = {
    {"simclr", "crop:0.08-1,flip:0.5,jitter:0.8:1,gray:0.2,blur:0.5:0.1-2"},
    {"simclr-cifar", "crop:0.08-1,flip:0.5,jitter:0.8:0.5,gray:0.2"},
    {"eval", "center"},
};

static const struct op_syntax operations[OP_COUNT] = {
    [OP_CROP] = {"crop",
                 {ARG_RANGE, ARG_PROBABILITY, ARG_ASPECT},
                 {.p = 1, .low = 0.08, .high = 1, .aspect_low = 3 / 4.0, .aspect_high = 4 / 3.0},
                 1e-6,
                 1},
    [OP_CENTER] = {"center", {ARG_END}, {.p = 1}, 0, 0},
    [OP_FLIP] = {"flip", {ARG_PROBABILITY}, {.p = 0.5}, 0, 0},
    /* A hue range of 0.2 x 2.5 is the whole circle. */
    [OP_JITTER] = {"jitter", {ARG_PROBABILITY, ARG_STRENGTH}, {.p = 0.8, .strength = 1}, 0, 2.5},
    [OP_GRAY] = {"gray", {ARG_PROBABILITY}, {.p = 0.2}, 0, 0},
    [OP_BLUR] =
        {"blur", {ARG_PROBABILITY, ARG_RANGE}, {.p = 0.5, .low = 0.1, .high = 2}, 1e-3, 1000},
    /* As BYOL's second view (Grill et al. 2020, table 6). */
    [OP_SOLARIZE] =
        {"solarize", {ARG_PROBABILITY, ARG_THRESHOLD}, {.p = 0.2, .threshold = 0.5}, 0, 1},
    /* Half the side, always, as DeVries and Taylor for CIFAR-10. */
    [OP_CUTOUT] = {"cutout", {ARG_PROBABILITY, ARG_RANGE}, {.p = 1, .low = 0.5, .high = 0.5}, 0, 1},
    /* Three of four, so that each direction is as likely as any other. */
    [OP_ROTATE] = {"rotate", {ARG_PROBABILITY}, {.p = 0.75}, 0, 0},
    [OP_NOISE] = {"noise", {ARG_PROBABILITY, ARG_RANGE}, {.p = 0.5, .low = 0, .high = 0.1}, 0, 1},
    [OP_SOBEL] = {"sobel", {ARG_PROBABILITY}, {.p = 0.5}, 0, 0},
};

const struct op_table image_ops = {operations, OP_COUNT, policies,
                                   sizeof policies / sizeof policies[0]};

/* ---- parsing ---- */

const char *policy_ops_from(const struct op_table *table, const char *name)
{
    for (int i = 0; i < table->n_policies; i++)
        if (strcmp(table->policies[i].name, name) == 0)
            return table->policies[i].ops;
    return NULL;
}

const char *policy_ops(const char *name)
{
    return policy_ops_from(&image_ops, name);
}

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

/* Reads "0.08-1", or "0.5" for 0.5-0.5. */
static int parse_range(const char **text, double min, double max, const char *op, double *low,
                       double *high)
{
    if (parse_number(text, min, max, op, low))
        return -1;
    *high = *low;
    if (**text == '-') {
        ++*text;
        if (parse_number(text, min, max, op, high))
            return -1;
    }
    return *low <= *high ? 0 : fail("%s: %g-%g runs backward", op, *low, *high);
}

static int parse_argument(const char **text, enum argument argument, const struct op_syntax *syntax,
                          struct op *op)
{
    const char *name = syntax->name;
    const double min = syntax->min, max = syntax->max;
    switch (argument) {
    case ARG_PROBABILITY:
        return parse_number(text, 0, 1, name, &op->p);
    case ARG_RANGE:
        return parse_range(text, min, max, name, &op->low, &op->high);
    case ARG_COUNTS:
        if (parse_range(text, min, max, name, &op->low, &op->high))
            return -1;
        return op->low == rint(op->low) && op->high == rint(op->high)
                   ? 0
                   : fail("%s: %g-%g: not whole numbers", name, op->low, op->high);
    case ARG_ASPECT:
        return parse_range(text, 0.01, 100, name, &op->aspect_low, &op->aspect_high);
    case ARG_STRENGTH:
        return parse_number(text, min, max, name, &op->strength);
    case ARG_THRESHOLD:
        return parse_number(text, min, max, name, &op->threshold);
    case ARG_END:
        break;
    }
    return fail("%s: ':%s' is one argument too many", name, *text);
}

static bool is_name(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && strncmp(name, text, length) == 0;
}

static int unknown_op(const struct op_table *table, const char *name, size_t length)
{
    char known[256] = "";
    for (int i = 0; i < table->n_ops; i++) {
        const size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", i ? ", " : "", table->ops[i].name);
    }
    return fail("unknown operation '%.*s' (there are %s)", (int)length, name, known);
}

/* Reads one operation, up to a comma or the end. */
static int parse_op(const struct op_table *table, const char **text, struct op *op)
{
    const size_t length = strcspn(*text, ":,");
    int kind = 0;
    while (kind < table->n_ops && !is_name(table->ops[kind].name, *text, length))
        kind++;
    if (kind == table->n_ops)
        return unknown_op(table, *text, length);
    const struct op_syntax *syntax = &table->ops[kind];
    *op = syntax->defaults;
    op->kind = kind;
    *text += length;
    for (int i = 0; **text == ':'; i++) {
        ++*text;
        if (parse_argument(text, i < POLICY_MAX_ARGUMENTS ? syntax->arguments[i] : ARG_END, syntax,
                           op))
            return -1;
    }
    if (**text != ',' && **text != '\0')
        return fail("%s: cannot make sense of '%s'", syntax->name, *text);
    return 0;
}

static int append(const struct op_table *table, struct policy *policy, const struct op *op)
{
    const bool is_box = op->kind == OP_CROP || op->kind == OP_CENTER;
    if (is_box && policy->n_ops > 0)
        return fail("%s has to come first", table->ops[op->kind].name);
    if (!is_box && policy->n_ops == 0)
        policy->ops[policy->n_ops++] = (struct op){.kind = OP_CROP, .p = 0};
    if (policy->n_ops == POLICY_MAX_OPS)
        return fail("more than %d operations", POLICY_MAX_OPS);
    policy->ops[policy->n_ops++] = *op;
    return 0;
}

/* The list of the policy that is named at `text`, up to a comma or the end; NULL: none is. */
static const char *ops_named_at(const struct op_table *table, const char *text)
{
    for (int i = 0; i < table->n_policies; i++)
        if (is_name(table->policies[i].name, text, strcspn(text, ",")))
            return table->policies[i].ops;
    return NULL;
}

static int append_list(const struct op_table *table, struct policy *policy, const char *text)
{
    for (;; text++) {
        const char *named = ops_named_at(table, text);
        struct op op;
        if (named) {
            if (append_list(table, policy, named))
                return -1;
            text += strcspn(text, ",");
        } else if (parse_op(table, &text, &op) || append(table, policy, &op))
            return -1;
        if (*text == '\0')
            return 0;
    }
}

int policy_parse_from(const struct op_table *table, struct policy *policy, const char *ops)
{
    policy->n_ops = 0;
    return append_list(table, policy, ops);
}

int policy_parse(struct policy *policy, const char *ops)
{
    return policy_parse_from(&image_ops, policy, ops);
}

bool policy_is_evaluation(const struct policy *policy)
{
    return policy->ops[0].kind == OP_CENTER;
}

int policy_target(const struct policy *policy, const char *name)
{
    const struct op *found = NULL;
    for (int i = 0; i < policy->n_ops; i++) {
        const struct op *op = &policy->ops[i];
        if (strcmp(operations[op->kind].name, name) != 0 || op->kind == OP_CROP)
            continue;
        if (found)
            return fail("%s stands among the operations twice", name);
        found = op;
    }
    if (!found || found->kind == OP_CENTER)
        return fail("%s is not among the operations whose outcome is drawn", name);
    if (found->p == 0 || (found->p == 1 && found->kind != OP_ROTATE))
        return fail("%s comes out the same in every view: its probability is %g", name, found->p);
    return (int)found->kind;
}

/* ---- drawing ---- */

static int at_least_one(double side)
{
    return side < 1 ? 1 : (int)side;
}

static struct box draw_crop(const struct op *op, int width, int height, struct random *r)
{
    const double ratio_low = op->aspect_low, ratio_high = op->aspect_high;
    const double area = (double)width * height;
    struct box box = {0, 0, width, height};
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
        box.h = at_least_one(rint(width / ratio_low));
    else if (ratio > ratio_high)
        box.w = at_least_one(rint(height * ratio_high));
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
    const int side = at_least_one(rint(0.875 * shorter));
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

static struct box draw_cutout(const struct op *op, int size, struct random *r)
{
    const int side = at_least_one(rint(size * random_uniform(r, op->low, op->high)));
    const int y = (int)random_below(r, (uint64_t)size) - side / 2;
    const int x = (int)random_below(r, (uint64_t)size) - side / 2;
    const int left = x < 0 ? 0 : x, right = x + side > size ? size : x + side;
    const int top = y < 0 ? 0 : y, bottom = y + side > size ? size : y + side;
    return (struct box){left, top, right - left, bottom - top};
}

void policy_draw_noise(struct applied *a, const struct op *op, int place, struct random *r)
{
    const struct random pixels = random_other(r, RANDOM_PIXELS);
    a->sigma = (float)random_uniform(r, op->low, op->high);
    memcpy(a->key, pixels.key, sizeof a->key);
    memcpy(a->counter, pixels.counter, sizeof a->counter);
    a->counter[0] = (uint32_t)place << 28;
}

void view_draw(struct view *view, const struct policy *policy, int width, int height, int size,
               struct random *r)
{
    view->n_ops = 0;
    view->reduction = 1;
    view->series = false;
    for (int i = 0; i < policy->n_ops; i++) {
        const struct op *op = &policy->ops[i];
        struct applied a = {.kind = op->kind, .box = {0, 0, width, height}};
        const bool chosen = random_chance(r, op->p);
        if (!chosen && op->kind != OP_CROP)
            continue;
        switch ((enum op_kind)op->kind) {
        case OP_CROP:
            if (chosen)
                a.box = draw_crop(op, width, height, r);
            break;
        case OP_CENTER:
            a.box = center_box(width, height, size);
            break;
        case OP_JITTER:
            draw_jitter(&a, op, r);
            break;
        case OP_BLUR:
            a.sigma = (float)random_uniform(r, op->low, op->high);
            a.kernel = blur_kernel(size);
            break;
        case OP_SOLARIZE:
            a.threshold = (float)op->threshold;
            break;
        case OP_CUTOUT:
            a.box = draw_cutout(op, size, r);
            break;
        case OP_ROTATE:
            a.quarters = 1 + (int)random_below(r, 3);
            break;
        case OP_NOISE:
            policy_draw_noise(&a, op, i, r);
            break;
        case OP_FLIP:
        case OP_GRAY:
        case OP_SOBEL:
        case OP_COUNT:
            break;
        }
        view->ops[view->n_ops++] = a;
    }
}

int64_t view_outcome(const struct view *view, enum op_kind kind)
{
    for (int i = 0; i < view->n_ops; i++)
        if (view->ops[i].kind == (int)kind)
            return kind == OP_ROTATE ? view->ops[i].quarters : 1;
    return 0;
}

/* ---- applying ---- */

void view_memory_free(struct view_memory *memory)
{
    free(memory->floats);
    *memory = (struct view_memory){0};
}

/* Floats of a view's planes, in whole cache lines. */
static size_t planes_of(int size)
{
    return (3 * (size_t)size * (size_t)size + 15) / 16 * 16;
}

static size_t greater(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Sides are at most 2^15 and size at most 2^12, so nothing here overflows. */
static int reserve(struct view_memory *memory, int width, int height, int size)
{
    const size_t for_crop = resample_scratch(width, height, size);
    const size_t for_blur = blur_scratch(size, blur_kernel(size));
    const size_t for_sobel = sobel_scratch(size); /* more than a rotation takes */
    const size_t need = planes_of(size) + greater(for_crop, greater(for_blur, for_sobel));
    if (need <= memory->count)
        return 0;
    float *floats = aligned_alloc(64, (need * sizeof *floats + 63) / 64 * 64);
    if (!floats)
        return fail("out of memory for a %d x %d image", width, height);
    free(memory->floats);
    *memory = (struct view_memory){floats, need};
    return 0;
}

double view_scale_needed(const struct view *view, int size)
{
    double scale = 0;
    for (int i = 0; i < view->n_ops; i++) {
        const struct applied *a = &view->ops[i];
        if (a->kind == OP_CROP || a->kind == OP_CENTER)
            scale = fmax(scale, (double)size / (a->box.w < a->box.h ? a->box.w : a->box.h));
    }
    return scale;
}

static void crop(const struct scaled_image *image, struct box box, int size, float *planes,
                 float *scratch)
{
    const double scale = 1.0 / image->denominator;
    const struct area area = {box.x * scale, box.y * scale, box.w * scale, box.h * scale};
    const int d = image->denominator;
    resample_bicubic(image->pixels, (image->width + d - 1) / d, (image->height + d - 1) / d, area,
                     size, planes, scratch);
}

int view_apply(const struct view *view, const struct scaled_image *image, int size,
               struct view_memory *memory, uint8_t *out)
{
    if (reserve(memory, image->width, image->height, size))
        return -1;
    const size_t n = (size_t)size * (size_t)size;
    float *planes = memory->floats, *scratch = planes + planes_of(size);
    for (int i = 0; i < view->n_ops; i++) {
        const struct applied *a = &view->ops[i];
        switch ((enum op_kind)a->kind) {
        case OP_CROP:
        case OP_CENTER:
            crop(image, a->box, size, planes, scratch);
            break;
        case OP_FLIP:
            geometry_flip(planes, size);
            break;
        case OP_JITTER:
            color_jitter(planes, n, a->order, JITTER_COUNT, a->factors);
            break;
        case OP_GRAY:
            color_gray(planes, n);
            break;
        case OP_BLUR:
            blur_gaussian(planes, size, a->kernel, a->sigma, scratch);
            break;
        case OP_SOLARIZE:
            color_solarize(planes, n, a->threshold);
            break;
        case OP_CUTOUT:
            geometry_cutout(planes, size, a->box);
            break;
        case OP_ROTATE:
            geometry_rotate(planes, size, a->quarters, scratch);
            break;
        case OP_NOISE:
            noise_add(planes, n, a->sigma, a->counter, a->key);
            break;
        case OP_SOBEL:
            sobel_magnitude(planes, size, scratch);
            break;
        case OP_COUNT:
            break;
        }
    }
    color_quantize(planes, n, out);
    return 0;
}
