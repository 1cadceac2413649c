/* permutation on series: cuts the view into segments and permutes them (Um et al. 2017). */
#include <string.h>

#include "views/operation.h"

enum { PERMUTATION_P, PERMUTATION_SEGMENTS };

struct permutation {
    struct operation_list cuts; /* steps of the view at which segments 1, 2, ... begin, ascending */
    struct operation_list order; /* the segments, numbered from 0, in their new order */
};

/* Draws n - 1 different numbers out of 1 .. size-1 with Floyd's method, sorted; each set of them
 * has equal probability. */
static void draw_cuts(struct operation_list *cuts, int n, int size, struct random *random)
{
    for (int i = 1; i < n; i++) {
        const int last = size - n + i;
        int cut = 1 + (int)random_below(random, (uint64_t)last), at = cuts->n;
        for (int k = 0; k < cuts->n; k++)
            if (cuts->items[k] == cut)
                cut = last;
        for (; at > 0 && cuts->items[at - 1] > cut; at--)
            cuts->items[at] = cuts->items[at - 1];
        cuts->items[at] = cut;
        cuts->n++;
    }
}

static void draw_permutation(const struct operation_use *use,
                             const struct operation_context *context, void *drawn)
{
    struct permutation *p = drawn;
    const int low = (int)use->values[PERMUTATION_SEGMENTS].low;
    const int high = (int)use->values[PERMUTATION_SEGMENTS].high;
    int n = low + (int)random_below(context->random, (uint64_t)(high - low + 1));
    if (n > context->size)
        n = context->size;
    draw_cuts(&p->cuts, n, context->size, context->random);
    int64_t order[OPERATION_MAX_LIST];
    random_permutation(context->random, order, n);
    p->order.n = n;
    for (int i = 0; i < n; i++)
        p->order.items[i] = (int)order[i];
}

static size_t permutation_scratch(const void *drawn, const struct operation_canvas *canvas)
{
    (void)drawn;
    return canvas->n;
}

static void apply_permutation(const void *drawn, const struct operation_canvas *canvas)
{
    const struct permutation *p = drawn;
    const size_t channels = (size_t)canvas->channels;
    float *to = canvas->x;
    memcpy(canvas->scratch, canvas->x, canvas->n * sizeof(float));
    for (int i = 0; i < p->order.n; i++) {
        const int k = p->order.items[i];
        const int start = k > 0 ? p->cuts.items[k - 1] : 0;
        const int end = k < p->cuts.n ? p->cuts.items[k] : canvas->size;
        const size_t n = (size_t)(end - start) * channels;
        memcpy(to, canvas->scratch + (size_t)start * channels, n * sizeof(float));
        to += n;
    }
}

static const struct operation_field permutation_fields[] = {
    {"cuts", FIELD_LIST, .offset = offsetof(struct permutation, cuts)},
    {"order", FIELD_LIST, .offset = offsetof(struct permutation, order)},
    {0},
};

const struct operation operation_series_permutation = {
    .name = "permutation",
    .parameters =
        {
            [PERMUTATION_P] = {"probability", PARAMETER_PROBABILITY, .low = 0.5},
            [PERMUTATION_SEGMENTS] = {"segments that change places", PARAMETER_COUNTS, 2, 4, 1,
                                      OPERATION_MAX_LIST},
        },
    .draw = draw_permutation,
    .drawn_size = sizeof(struct permutation),
    .fields = permutation_fields,
    .apply = apply_permutation,
    .scratch = permutation_scratch,
};
