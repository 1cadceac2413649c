#include "views/view.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "views/pixels.h"

/* ---- drawing ---- */

void view_draw(struct view *view, const struct policy *policy, int width, int height, int size,
               struct random *r)
{
    view->n_ops = 0;
    view->reduction = 1;
    for (int i = 0; i < policy->n_ops; i++) {
        const struct operation_use *use = &policy->ops[i];
        const struct operation *operation = use->operation;
        const bool chosen = random_chance(r, use->p);
        if (!chosen && !operation->first)
            continue;
        struct view_op *op = &view->ops[view->n_ops++];
        assert(operation->drawn_size <= sizeof op->drawn);
        op->operation = operation;
        memset(op->drawn, 0, operation->drawn_size);
        if (operation->first)
            *(struct box *)op->drawn = (struct box){0, 0, width, height};
        if (chosen && operation->draw)
            operation->draw(use, &(struct operation_context){width, height, size, i, r}, op->drawn);
    }
}

const struct box *view_box(const struct view *view)
{
    return (const struct box *)view->ops[0].drawn;
}

int64_t view_outcome(const struct view *view, const struct operation *operation)
{
    for (int i = 0; i < view->n_ops; i++)
        if (view->ops[i].operation == operation)
            return operation->outcome ? operation->outcome(view->ops[i].drawn) : 1;
    return 0;
}

double view_scale_needed(const struct view *view, int size)
{
    const struct box *box = view_box(view);
    return (double)size / (box->w < box->h ? box->w : box->h);
}

/* ---- computing ---- */

void view_memory_free(struct view_memory *memory)
{
    free(memory->floats);
    *memory = (struct view_memory){0};
}

/* Rounds up to a multiple of the floats of a cache line. */
static size_t whole_lines(size_t floats)
{
    return (floats + 15) / 16 * 16;
}

/* Reserves memory for x, if the canvas has none, and for the operations' scratch, both aligned to
 * 64 bytes. Sides are at most 2^15, sizes at most 2^12 and channels at most 2^9, so nothing here
 * overflows. */
static int reserve(struct view_memory *memory, const struct view *view,
                   struct operation_canvas *canvas)
{
    const size_t values = canvas->x ? 0 : whole_lines((size_t)canvas->channels * canvas->n);
    size_t scratch = 0;
    for (int i = 0; i < view->n_ops; i++) {
        const struct operation *operation = view->ops[i].operation;
        const size_t need = operation->scratch ? operation->scratch(view->ops[i].drawn, canvas) : 0;
        scratch = need > scratch ? need : scratch;
    }
    const size_t need = values + scratch;
    if (need > memory->count) {
        float *floats = aligned_alloc(64, whole_lines(need) * sizeof *floats);
        if (!floats)
            return fail("out of memory for a view of %d x %d", canvas->size, canvas->size);
        free(memory->floats);
        *memory = (struct view_memory){floats, need};
    }
    if (!canvas->x)
        canvas->x = memory->floats;
    canvas->scratch = scratch ? memory->floats + values : NULL;
    return 0;
}

static int apply_all(const struct view *view, struct view_memory *memory,
                     struct operation_canvas *canvas)
{
    if (reserve(memory, view, canvas))
        return -1;
    for (int i = 0; i < view->n_ops; i++)
        view->ops[i].operation->apply(view->ops[i].drawn, canvas);
    return 0;
}

int view_apply(const struct view *view, const struct scaled_image *image, int size,
               struct view_memory *memory, uint8_t *out)
{
    const size_t n = (size_t)size * (size_t)size;
    struct operation_canvas canvas = {.n = n, .size = size, .channels = 3, .image = image};
    if (apply_all(view, memory, &canvas))
        return -1;
    pixels_to_bytes(canvas.x, n, out);
    return 0;
}

int view_apply_raw(const struct view *view, const struct scaled_image *image, int size,
                   struct view_memory *memory, float *out)
{
    const size_t n = (size_t)size * (size_t)size;
    const int channels = image_channels(image->kind);
    struct operation_canvas canvas = {.n = n, .size = size, .channels = channels, .image = image};
    if (apply_all(view, memory, &canvas))
        return -1;
    pixels_interleave(canvas.x, n, channels, out);
    return 0;
}

int view_apply_series(const struct view *view, const float *x, int length, int channels, int size,
                      struct view_memory *memory, float *out)
{
    const struct scaled_image series = {
        .pixels = (const uint8_t *)x, .width = length, .height = 1, .denominator = 1};
    struct operation_canvas canvas = {.x = out,
                                      .n = (size_t)size * (size_t)channels,
                                      .size = size,
                                      .channels = channels,
                                      .image = &series};
    return apply_all(view, memory, &canvas);
}
