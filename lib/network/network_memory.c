#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fail.h"
#include "engine/exact_sum.h"
#include "network/network_parts.h"

enum {
    ALIGNMENT = 64,
    HUGE_PAGE = 2 << 20,
    SLICE = 64 /* images that evaluation takes at a time */
};

void network_release(struct network *net)
{
    plan_layout_clear(&net->layout);
    free(net->memory);
    net->memory = NULL;
    net->prepared = false;
}

/* Reserves bytes at the end of a block of *total; false on overflow. */
static bool reserve(size_t *total, size_t bytes, size_t *at)
{
    *at = *total;
    return !__builtin_add_overflow(*total, bytes, total) &&
           !__builtin_add_overflow(*total, ALIGNMENT - 1, total) &&
           (*total = *total / ALIGNMENT * ALIGNMENT, true);
}

static void raise_to(size_t *most, size_t bytes)
{
    if (bytes > *most)
        *most = bytes;
}

/* In large pages where the system has them: a step walks through all of its memory, and looking a
 * page up for every 4 KiB costs up to a third of its time. */
static unsigned char *allocate(size_t bytes)
{
    if (bytes < HUGE_PAGE)
        return aligned_alloc(ALIGNMENT, bytes);
    if (bytes > SIZE_MAX - HUGE_PAGE)
        return NULL;
    bytes = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    unsigned char *memory = aligned_alloc(HUGE_PAGE, bytes);
    if (memory)
        madvise(memory, bytes, MADV_HUGEPAGE); /* a wish, which may fail */
    return memory;
}

/* What the operations take besides maps: bytes, and sums and channels in values. */
struct needs {
    size_t packed, back, partials, sums, channels, kept, work;
};

/* Raises needs to those of slices of net->images. -1 on overflow. */
static int raise_needs(struct network *net, struct needs *n)
{
    const struct plan *p = net->plan;
    const struct precision *v = &net->engine.values;
    n->packed = n->kept = 0; /* the same for slices of any size */
    for (int i = 0; i < p->n_operations; i++) {
        const struct plan_operation *op = &p->operations[i];
        if (op->kind == PLAN_CONVOLUTION) {
            const struct conv_shape s = network_conv_shape(net, op);
            const size_t bytes = conv_packed_bytes(v, &s);
            net->packed_at[i] = 0;
            if (packs_at_use(net))
                raise_to(&n->packed, bytes);
            else if (!reserve(&n->packed, bytes, &net->packed_at[i]))
                return -1;
            raise_to(&n->work, conv_work_bytes(v, &s, net->threads));
            if (!trains(net, i))
                continue;
            raise_to(&n->back, packs_at_use(net) ? 0 : bytes);
            raise_to(&n->partials, conv_partial_bytes(v, &s));
            raise_to(&n->sums, (size_t)(conv_sum_rows(v, &s) * 2 * s.o));
        } else if (op->kind == PLAN_BATCH_NORM || op->kind == PLAN_BIAS) {
            const struct norm_shape s = network_norm_shape(net, op->in);
            raise_to(&n->channels, (size_t)s.c);
            if (op->kind == PLAN_BATCH_NORM)
                n->kept += (4 * sizeof(float) + 4 * sizeof(double)) * (size_t)s.c;
            if (trains(net, i))
                raise_to(&n->sums, (size_t)(net->engine.maps->norm_partials(&s) * 2 * s.c));
        }
    }
    return 0;
}

/* Points statistics to their places in `kept`. */
static void place_statistics(struct network *net, double *kept)
{
    const struct plan *p = net->plan;
    for (int i = 0; i < p->n_operations; i++) {
        if (p->operations[i].kind != PLAN_BATCH_NORM)
            continue;
        const int64_t c = p->channels[p->operations[i].in];
        float *floats = (float *)(kept + 4 * c);
        net->statistics[p->operations[i].in] = (struct statistics){.sums = kept,
                                                                   .batch = kept + 2 * c,
                                                                   .mean = floats,
                                                                   .scale = floats + c,
                                                                   .inverse = floats + 2 * c};
        kept = (double *)(floats + 4 * c);
    }
}

/* Member by member: what lies between them may be anything. */
static bool same_shape(const struct network_shape *a, const struct network_shape *b)
{
    return a->images == b->images && a->height == b->height && a->width == b->width &&
           a->grains == b->grains && a->chunk == b->chunk && a->training == b->training &&
           a->input_grad == b->input_grad;
}

int network_prepare(struct network *net, const struct network_shape *shape)
{
    assert(shape->training || !shape->input_grad);
    assert(!net->plan->frozen || !shape->input_grad);
    if (net->prepared && same_shape(&net->shape, shape))
        return 0;
    if (shape->images < 1)
        return fail("no images");
    if (shape->training && (shape->grains < 1 || shape->images % shape->grains))
        return fail("%lld grains do not divide %lld views", (long long)shape->grains,
                    (long long)shape->images);
    network_release(net);
    net->shape = *shape;
    const int64_t most = !shape->training ? SLICE : shape->chunk ? shape->chunk : shape->images;
    net->slice = most < shape->images ? most : shape->images;
    if (plan_lay_out(net->plan, net->slice, shape->height, shape->width, net->engine.maps->element,
                     shape->training, shape->input_grad, &net->layout))
        return -1;
    struct needs n = {0};
    const int64_t sizes[] = {net->slice, shape->images - (slices(net) - 1) * net->slice};
    size_t total = 0, at_maps, at_packed, at_back, at_partials, at_sums, at_digits, at_channels,
           at_kept, at_carried, at_work, carried = 0, work = 0;
    bool fits = true;
    for (int i = 0; fits && i < 2; i++) {
        net->images = sizes[i];
        fits = !raise_needs(net, &n);
    }
    for (int64_t parts = slices(net) - 1; fits && shape->training && parts; parts /= 2)
        fits = !__builtin_add_overflow(carried, network_gradient_values(net) * sizeof(float),
                                       &carried);
    if (!fits || __builtin_mul_overflow(n.work, (size_t)net->threads, &work) ||
        !reserve(&total, net->layout.bytes, &at_maps) || !reserve(&total, n.packed, &at_packed) ||
        !reserve(&total, n.back, &at_back) || !reserve(&total, n.partials, &at_partials) ||
        !reserve(&total, n.sums * sizeof(double), &at_sums) ||
        !reserve(&total, (EXACT_SUM_DIGITS * 2 * n.channels + 1) * sizeof(int64_t), &at_digits) ||
        !reserve(&total, 3 * n.channels * sizeof(float), &at_channels) ||
        !reserve(&total, n.kept, &at_kept) || !reserve(&total, carried, &at_carried) ||
        !reserve(&total, work, &at_work))
        return fail("the network's memory overflows");
    net->memory = allocate(total);
    if (!net->memory)
        return fail("out of memory: a step of %lld views of %lld x %lld needs %zu MiB",
                    (long long)net->slice, (long long)shape->height, (long long)shape->width,
                    total >> 20);
    net->maps = net->memory + at_maps;
    net->packed = net->memory + at_packed;
    net->packed_back = packs_at_use(net) ? net->packed : net->memory + at_back;
    net->partials = net->memory + at_partials;
    net->sums = (double *)(net->memory + at_sums);
    net->digits = (int64_t *)(net->memory + at_digits);
    net->coefficients = (float *)(net->memory + at_channels);
    net->zeros = net->coefficients + 2 * n.channels;
    net->carried = (float *)(net->memory + at_carried);
    net->work = (struct workspace){
        .memory = net->memory + at_work, .bytes = n.work, .threads = net->threads};
    place_statistics(net, (double *)(net->memory + at_kept));
    net->prepared = net->changed = true;
    net->ran = false;
    return 0;
}
