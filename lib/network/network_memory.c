#include <stdlib.h>

#include "base/arena.h"
#include "base/fail.h"
#include "engine/exact_sum.h"
#include "network/network_parts.h"

enum { SLICE = 64 }; /* images that evaluation computes at a time */

void network_release(struct network *net)
{
    plan_layout_clear(&net->layout);
    net->engine->release(net->engine, net->memory);
    free(net->host);
    net->memory = NULL;
    net->host = NULL;
    net->prepared = false;
}

static void raise_to(size_t *most, size_t bytes)
{
    if (bytes > *most)
        *most = bytes;
}

/* The memory that the operations need besides maps. */
struct needs {
    struct arena packed;         /* packed weights */
    size_t back, partials, work; /* bytes of the engine's memory */
    size_t sums, channels;       /* doubles; channels of the widest norm */
    size_t kept;                 /* bytes of statistics */
};

static void raise_conv_needs(struct network *net, int i, struct needs *n)
{
    struct engine *e = net->engine;
    const struct conv_shape s = network_conv_shape(net, &net->plan->operations[i]);
    const size_t bytes = e->conv_packed_bytes(e, &s);
    net->packed_at[i] = 0;
    if (packs_at_use(net))
        raise_to(&n->packed.bytes, bytes);
    else
        net->packed_at[i] = arena_reserve(&n->packed, bytes, 1);
    raise_to(&n->work, e->conv_work_bytes(e, &s));
    if (!trains(net, i))
        return;
    raise_to(&n->sums, (size_t)(e->conv_sum_rows(e, &s) * 2 * s.o));
    if (!goes_back(net))
        return;
    raise_to(&n->back, packs_at_use(net) ? 0 : bytes);
    raise_to(&n->partials, e->conv_partial_bytes(e, &s));
}

/* Raises needs to those of slices of net->images images. */
static void raise_needs(struct network *net, struct needs *n)
{
    const struct plan *p = net->plan;
    n->packed.bytes = n->kept = 0; /* they are the same for slices of any size */
    for (int i = 0; i < p->n_operations; i++) {
        const struct plan_operation *op = &p->operations[i];
        if (op->kind == PLAN_CONVOLUTION) {
            raise_conv_needs(net, i, n);
        } else if (op->kind == PLAN_BATCH_NORM || op->kind == PLAN_BIAS) {
            const struct norm_shape s = network_norm_shape(net, op->in);
            raise_to(&n->channels, (size_t)s.c);
            if (op->kind == PLAN_BATCH_NORM)
                n->kept += (4 * sizeof(float) + 4 * sizeof(double)) * (size_t)s.c;
            if (trains(net, i))
                raise_to(&n->sums, (size_t)(net->engine->norm_sum_rows(net->engine, &s) * 2 * s.c));
        }
    }
}

/* Points the statistics to their places in `kept`. Each norm has 4 c doubles, then 4 c floats, of
 * which the last c are not used. */
static void place_statistics(struct network *net, double *kept)
{
    const struct plan *p = net->plan;
    for (int i = 0; i < p->n_operations; i++) {
        if (p->operations[i].kind != PLAN_BATCH_NORM)
            continue;
        const int64_t c = p->channels[p->operations[i].in];
        float *floats = (float *)(kept + 4 * c);
        net->statistics[p->operations[i].in] = (struct norm_statistics){.sums = kept,
                                                                        .batch_sums = kept + 2 * c,
                                                                        .mean = floats,
                                                                        .scale = floats + c,
                                                                        .inverse = floats + 2 * c};
        kept = (double *)(floats + 4 * c);
    }
}

/* Lays out the engine's memory, whose block is allocated later. */
static struct arena lay_out_engine(struct network *net, const struct needs *n)
{
    struct arena a = {0};
    net->maps = arena_reserve(&a, net->layout.bytes, 1);
    net->packed = arena_reserve(&a, n->packed.bytes, 1);
    net->packed_back = arena_reserve(&a, n->back, 1);
    if (packs_at_use(net))
        net->packed_back = net->packed;
    net->partials = arena_reserve(&a, n->partials, 1);
    net->work.at.offset = arena_reserve(&a, n->work, 1);
    net->work.bytes = n->work;
    return a;
}

/* Lays out host memory. If `host` is not NULL, also sets the pointers to its parts. */
static struct arena lay_out_host(struct network *net, const struct needs *n, unsigned char *host)
{
    struct arena a = {0};
    size_t levels = 0;
    for (int64_t parts = slices(net) - 1; goes_back(net) && parts; parts /= 2)
        levels++;
    const size_t digits = EXACT_SUM_DIGITS * 2 * n->channels + 1;
    const size_t at_sums = arena_reserve(&a, n->sums, sizeof *net->sums);
    const size_t at_digits = arena_reserve(&a, digits, sizeof *net->digits);
    const size_t at_channels = arena_reserve(&a, 3 * n->channels, sizeof *net->coefficients);
    const size_t at_kept = arena_reserve(&a, n->kept, 1);
    const size_t at_carried =
        arena_reserve(&a, levels * sizeof *net->carried, network_gradient_values(net));
    if (!host)
        return a;
    net->sums = (double *)(host + at_sums);
    net->digits = (int64_t *)(host + at_digits);
    net->coefficients = (float *)(host + at_channels);
    net->zeros = net->coefficients + 2 * n->channels;
    net->carried = (float *)(host + at_carried);
    place_statistics(net, (double *)(host + at_kept));
    return a;
}

/* Finds the memory that slices of all sizes need, and allocates it. */
static int allocate(struct network *net)
{
    struct needs n = {0};
    const int64_t sizes[] = {net->slice, net->shape.images - (slices(net) - 1) * net->slice};
    for (int i = 0; i < 2; i++) {
        net->images = sizes[i];
        raise_needs(net, &n);
    }
    const struct arena engine = lay_out_engine(net, &n), host = lay_out_host(net, &n, NULL);
    size_t total;
    if (arena_overflows(&engine) || arena_overflows(&host) ||
        __builtin_add_overflow(engine.bytes, host.bytes, &total))
        return fail("the network's memory overflows");
    net->memory = net->engine->allocate(net->engine, engine.bytes);
    net->host = arena_allocate(&host);
    if (!net->memory || !net->host)
        return fail("out of memory: a step of %lld views of %lld x %lld needs %zu MiB",
                    (long long)net->slice, (long long)net->shape.height,
                    (long long)net->shape.width, total >> 20);
    net->work.at.memory = net->memory;
    lay_out_host(net, &n, net->host);
    return 0;
}

/* Compares member by member, because the padding between members is undefined. */
static bool same_shape(const struct network_shape *a, const struct network_shape *b)
{
    return a->images == b->images && a->height == b->height && a->width == b->width &&
           a->grains == b->grains && a->chunk == b->chunk && a->training == b->training &&
           a->forward_only == b->forward_only && a->input_grad == b->input_grad;
}

int network_prepare(struct network *net, const struct network_shape *shape)
{
    assert(shape->training || (!shape->input_grad && !shape->forward_only));
    assert(!shape->forward_only || !shape->input_grad);
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
    if (plan_lay_out(net->plan, net->slice, shape->height, shape->width, net->engine->element,
                     goes_back(net), shape->input_grad, &net->layout) ||
        allocate(net))
        return -1;
    net->prepared = net->changed = true;
    net->ran = false;
    return 0;
}
