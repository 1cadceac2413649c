#include "network/plan.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/fail.h"
#include "base/grow.h"

struct plan *plan_new(int64_t channels)
{
    struct plan *p = calloc(1, sizeof *p);
    if (!p || !(p->channels = grow(NULL, 0, &p->room_channels, sizeof *p->channels))) {
        free(p);
        fail_memory(NULL);
        return NULL;
    }
    p->channels[0] = channels;
    p->n_tensors = 1;
    return p;
}

struct plan *plan_new_series(int64_t channels)
{
    struct plan *p = plan_new(channels);
    if (p)
        p->series = true;
    return p;
}

/* Adds a copy of a parameter without a gradient, as those of buffers are added. */
static int copy_parameter(struct parameters *to, const struct parameter *from)
{
    const int i =
        parameters_add(to, from->name, from->type, from->ndim, from->shape, true, from->start);
    if (i < 0)
        return -1;
    struct parameter *p = &to->list[i];
    memcpy(p->value, from->value, parameters_bytes(p));
    p->buffer = from->buffer;
    p->frozen = from->frozen;
    p->shared = from->shared;
    return 0;
}

struct plan *plan_copy(const struct plan *p)
{
    const size_t operations = (size_t)p->n_operations * sizeof *p->operations;
    const size_t channels = (size_t)p->n_tensors * sizeof *p->channels;
    struct plan *copy = malloc(sizeof *copy);
    if (!copy) {
        fail_memory(NULL);
        return NULL;
    }
    *copy = *p;
    copy->parameters = (struct parameters){0};
    copy->room_operations = p->n_operations;
    copy->room_channels = p->n_tensors;
    copy->operations = malloc(operations);
    copy->channels = malloc(channels);
    bool good = copy->operations && copy->channels;
    if (good) {
        memcpy(copy->operations, p->operations, operations);
        memcpy(copy->channels, p->channels, channels);
    } else
        fail_memory(NULL);
    for (int i = 0; good && i < p->parameters.n; i++)
        good = !copy_parameter(&copy->parameters, &p->parameters.list[i]);
    if (!good) {
        plan_free(copy);
        return NULL;
    }
    return copy;
}

void plan_free(struct plan *p)
{
    if (!p)
        return;
    parameters_clear(&p->parameters);
    free(p->operations);
    free(p->channels);
    free(p);
}

/* Appends op, whose output has that many channels. Returns the output tensor, or -1 with a
 * message. */
static int append(struct plan *p, struct plan_operation op, int64_t channels)
{
    struct plan_operation *ops =
        grow(p->operations, p->n_operations, &p->room_operations, sizeof *ops);
    if (ops)
        p->operations = ops;
    int64_t *c = grow(p->channels, p->n_tensors, &p->room_channels, sizeof *c);
    if (c)
        p->channels = c;
    if (!ops || !c)
        return fail_memory(NULL);
    op.out = p->n_tensors;
    ops[p->n_operations++] = op;
    c[p->n_tensors] = channels;
    return p->n_tensors++;
}

static int add_parameter(struct plan *p, const char *name, const char *suffix, int ndim,
                         const int64_t *shape, enum parameter_start start)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", name, suffix);
    return parameters_add(&p->parameters, full, PARAMETER_FLOAT, ndim, shape, false, start);
}

static int add_buffer(struct plan *p, const char *name, const char *suffix,
                      enum parameter_type type, int ndim, const int64_t *shape,
                      enum parameter_start start)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", name, suffix);
    return parameters_add(&p->parameters, full, type, ndim, shape, true, start);
}

int plan_convolution(struct plan *p, int in, int64_t channels, int64_t kernel, int64_t stride,
                     int64_t padding, const char *name)
{
    if (in < 0)
        return in;
    const int64_t shape[4] = {channels, p->channels[in], kernel, kernel};
    int weight = add_parameter(p, name, "weight", p->series ? 3 : 4, shape, START_FAN_IN);
    if (weight < 0)
        return -1;
    return append(p,
                  (struct plan_operation){.kind = PLAN_CONVOLUTION,
                                          .in = in,
                                          .residual = -1,
                                          .kernel = kernel,
                                          .stride = stride,
                                          .padding = padding,
                                          .row = p->series,
                                          .weight = weight,
                                          .bias = -1},
                  channels);
}

int plan_linear(struct plan *p, int in, int64_t channels, const char *name)
{
    if (in < 0)
        return in;
    const int64_t shape[2] = {channels, p->channels[in]};
    int weight = add_parameter(p, name, "weight", 2, shape, START_NORMAL);
    if (weight < 0)
        return -1;
    return append(p,
                  (struct plan_operation){.kind = PLAN_CONVOLUTION,
                                          .in = in,
                                          .residual = -1,
                                          .kernel = 1,
                                          .stride = 1,
                                          .weight = weight,
                                          .bias = -1},
                  channels);
}

int plan_bias(struct plan *p, int in, const char *name)
{
    if (in < 0)
        return in;
    int bias = add_parameter(p, name, "bias", 1, &p->channels[in], START_ZERO);
    if (bias < 0)
        return -1;
    return append(p,
                  (struct plan_operation){
                      .kind = PLAN_BIAS, .in = in, .residual = -1, .weight = -1, .bias = bias},
                  p->channels[in]);
}

int plan_batch_norm(struct plan *p, int in, const struct plan_norm *norm)
{
    if (in < 0)
        return in;
    struct plan_operation op = {.kind = PLAN_BATCH_NORM,
                                .in = in,
                                .residual = norm->residual,
                                .relu = norm->relu,
                                .bias = -1};
    const char *name = norm->name;
    const int64_t *c = &p->channels[in];
    op.weight = add_parameter(p, name, "weight", 1, c, norm->zero ? START_ZERO : START_ONE);
    if (op.weight < 0)
        return -1;
    if (!norm->without_bias && (op.bias = add_parameter(p, name, "bias", 1, c, START_ZERO)) < 0)
        return -1;
    op.mean = add_buffer(p, name, "running_mean", PARAMETER_FLOAT, 1, c, START_ZERO);
    op.variance = add_buffer(p, name, "running_var", PARAMETER_FLOAT, 1, c, START_ONE);
    op.batches = add_buffer(p, name, "num_batches_tracked", PARAMETER_INTEGER, 0, NULL, START_ZERO);
    if (op.mean < 0 || op.variance < 0 || op.batches < 0)
        return -1;
    return append(p, op, *c);
}

int plan_max_pool(struct plan *p, int in, int64_t kernel, int64_t stride, int64_t padding)
{
    if (in < 0)
        return in;
    return append(p,
                  (struct plan_operation){.kind = PLAN_MAX_POOL,
                                          .in = in,
                                          .residual = -1,
                                          .kernel = kernel,
                                          .stride = stride,
                                          .padding = padding,
                                          .weight = -1,
                                          .bias = -1},
                  p->channels[in]);
}

int plan_average_pool(struct plan *p, int in)
{
    if (in < 0)
        return in;
    return append(
        p,
        (struct plan_operation){
            .kind = PLAN_AVERAGE_POOL, .in = in, .residual = -1, .weight = -1, .bias = -1},
        p->channels[in]);
}

void plan_freeze(struct plan *p, int n)
{
    assert(n >= 0 && n <= p->n_operations);
    p->frozen = n;
    for (int i = 0; i < p->n_operations; i++) {
        const struct plan_operation *op = &p->operations[i];
        const bool norm = op->kind == PLAN_BATCH_NORM;
        const int of[] = {op->weight, op->bias, norm ? op->mean : -1, norm ? op->variance : -1,
                          norm ? op->batches : -1};
        for (size_t k = 0; k < sizeof of / sizeof *of; k++)
            if (of[k] >= 0)
                p->parameters.list[of[k]].frozen = i < n;
    }
}

int plan_mean_pool(struct plan *p, int in, int64_t stride)
{
    if (in < 0)
        return in;
    return append(p,
                  (struct plan_operation){.kind = PLAN_MEAN_POOL,
                                          .in = in,
                                          .residual = -1,
                                          .kernel = 2,
                                          .stride = stride,
                                          .weight = -1,
                                          .bias = -1},
                  p->channels[in]);
}

int plan_halves_mean(struct plan *p, int in)
{
    if (in < 0)
        return in;
    assert(p->channels[in] % 2 == 0);
    return append(p,
                  (struct plan_operation){
                      .kind = PLAN_HALVES_MEAN, .in = in, .residual = -1, .weight = -1, .bias = -1},
                  p->channels[in] / 2);
}

int plan_halves_mix(struct plan *p, int in, int logits)
{
    if (in < 0 || logits < 0)
        return -1;
    assert(p->channels[in] % 2 == 0 && p->channels[logits] == p->channels[in]);
    return append(p,
                  (struct plan_operation){.kind = PLAN_HALVES_MIX,
                                          .in = in,
                                          .residual = -1,
                                          .logits = logits,
                                          .weight = -1,
                                          .bias = -1},
                  p->channels[in] / 2);
}

/* ---- memory ----
 * Time is counted in operations: forward, operation i runs at time i; backward, at time 2n - 1 - i
 * unless it is frozen. A buffer lives from the time it is first written until its last reader has
 * run. Buffers are placed from the largest to the smallest, each at the lowest offset that is free
 * for its whole life. This is simple, and within a few per cent of the least memory possible for
 * these networks. */

struct buffer {
    size_t bytes, at;
    int birth, death; /* first and last time of use */
    int order;        /* the buffer's number, so that every machine sorts in the same order */
};

static int by_size(const void *a, const void *b)
{
    const struct buffer *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->order - y->order;
}

static int by_offset(const void *a, const void *b)
{
    const struct buffer *x = *(struct buffer *const *)a, *y = *(struct buffer *const *)b;
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Places n buffers, which are sorted by size, and sets *bytes. `live` has room for n pointers. */
static int place(struct buffer *b, int n, struct buffer **live, size_t *bytes)
{
    *bytes = 0;
    for (int i = 0; i < n; i++) {
        int n_live = 0;
        for (int j = 0; j < i; j++)
            if (b[j].birth <= b[i].death && b[i].birth <= b[j].death)
                live[n_live++] = &b[j];
        qsort(live, (size_t)n_live, sizeof *live, by_offset);
        size_t at = 0;
        for (int j = 0; j < n_live; j++) {
            if (live[j]->at >= at && live[j]->at - at >= b[i].bytes)
                break;
            if (live[j]->at + live[j]->bytes > at)
                at = live[j]->at + live[j]->bytes;
        }
        size_t end;
        if (__builtin_add_overflow(at, b[i].bytes, &end))
            return fail("the network's memory overflows");
        b[i].at = at;
        if (end > *bytes)
            *bytes = end;
    }
    return 0;
}

/* Sets the height and width of an operation's output. Returns -1 with a message if it would be
 * empty. */
static int size_output(const struct plan_operation *op, struct plan_map *maps)
{
    const struct plan_map *in = &maps[op->in];
    struct plan_map *out = &maps[op->out];
    out->h = in->h;
    out->w = in->w;
    if (op->kind == PLAN_CONVOLUTION || op->kind == PLAN_MAX_POOL) {
        const int64_t over = 2 * op->padding - op->kernel;
        out->h = op->row ? in->h : (in->h + over) / op->stride + 1;
        out->w = (in->w + over) / op->stride + 1;
        if ((!op->row && in->h + over < 0) || in->w + over < 0)
            return fail("images of %lld x %lld are too small for this network",
                        (long long)maps[0].h, (long long)maps[0].w);
    } else if (op->kind == PLAN_MEAN_POOL) {
        out->h = (in->h - 1) / op->stride + 1;
        out->w = (in->w - 1) / op->stride + 1;
    } else if (op->kind == PLAN_AVERAGE_POOL || op->kind == PLAN_HALVES_MEAN) {
        out->h = out->w = 1;
    }
    assert(op->kind != PLAN_HALVES_MIX || maps[op->logits].h * maps[op->logits].w == 1);
    assert(op->residual < 0 || (maps[op->residual].h == out->h && maps[op->residual].c == out->c));
    return 0;
}

/* Sets the sizes of all maps, and map_bytes[t] for all images. The output of an average pool is
 * floats. */
static int size_maps(const struct plan *p, int64_t images, size_t element, struct plan_map *maps,
                     size_t *map_bytes)
{
    for (int i = 0; i < p->n_operations; i++)
        if (size_output(&p->operations[i], maps))
            return -1;
    for (int t = 0; t < p->n_tensors; t++) {
        const bool averaged = t > 0 && p->operations[t - 1].kind == PLAN_AVERAGE_POOL;
        assert(t == 0 || p->operations[t - 1].out == t);
        struct arena map = {0};
        size_t image = averaged ? sizeof(float) : element;
        if (__builtin_mul_overflow(image, maps[t].h, &image) ||
            __builtin_mul_overflow(image, maps[t].w, &image) ||
            __builtin_mul_overflow(image, maps[t].c, &image) ||
            (arena_reserve(&map, (size_t)images, image), arena_overflows(&map)))
            return fail("%lld images of %lld x %lld overflow memory", (long long)images,
                        (long long)maps[0].h, (long long)maps[0].w);
        map_bytes[t] = map.bytes;
    }
    return 0;
}

static void extend(struct buffer *b, int time)
{
    if (time < b->birth)
        b->birth = time;
    if (time > b->death)
        b->death = time;
}

/* Returns true if tensor t has a gradient. The outputs of frozen operations have none; tensor t is
 * the output of operation t - 1. */
static bool has_gradient(const struct plan *p, int t, bool input_grad)
{
    return t == 0 ? input_grad : t > p->frozen;
}

/* Returns true if an operation's backward pass reads the operation's input again. */
static bool reads_input_backward(const struct plan_operation *op)
{
    return op->kind == PLAN_CONVOLUTION || op->kind == PLAN_BATCH_NORM ||
           op->kind == PLAN_MAX_POOL || op->kind == PLAN_HALVES_MIX;
}

/* Sets grad_of[t] to the buffer of tensor t's gradient, or to -1 if it has none. Buffer t holds
 * tensor t's value; buffer n_tensors + t holds a gradient that has a place of its own. */
static void find_gradients(const struct plan *p, bool training, bool input_grad, int *grad_of)
{
    for (int t = 0; t < p->n_tensors; t++)
        grad_of[t] = training && has_gradient(p, t, input_grad) ? p->n_tensors + t : -1;
    /* Goes backward, so that a chain of residuals ends at the first owner. */
    for (int i = p->n_operations - 1; training && i >= p->frozen; i--) {
        const struct plan_operation *op = &p->operations[i];
        if (op->kind == PLAN_BATCH_NORM) {
            grad_of[op->in] = op->in;
            if (op->residual >= 0 && grad_of[op->residual] >= 0)
                grad_of[op->residual] = grad_of[op->out];
        } else if (op->kind == PLAN_BIAS && grad_of[op->in] >= 0) {
            grad_of[op->in] = grad_of[op->out];
        }
    }
}

/* Extends the lives of the buffers that operation i reads and writes in its backward pass. */
static void extend_backward(const struct plan *p, int i, struct buffer *b, const int *grad_of)
{
    const struct plan_operation *op = &p->operations[i];
    const int back = 2 * p->n_operations - 1 - i;
    extend(&b[grad_of[op->out]], back);
    if (grad_of[op->in] >= 0)
        extend(&b[grad_of[op->in]], back);
    if (reads_input_backward(op))
        extend(&b[op->in], back);
    if (op->kind == PLAN_HALVES_MIX) {
        extend(&b[op->logits], back);
        extend(&b[grad_of[op->logits]], back);
    }
    if (op->kind == PLAN_BATCH_NORM && op->relu)
        extend(&b[op->out], back);
}

/* Sets the lives of the buffers, given find_gradients()'s result. */
static void find_lives(const struct plan *p, bool training, bool input_grad, struct buffer *b,
                       const int *grad_of)
{
    const int n = p->n_operations, last = p->n_tensors - 1;
    extend(&b[0], 0);
    extend(&b[last], n - 1); /* the network's output is read at the end */
    if (training && p->frozen < n)
        extend(&b[grad_of[last]], n);
    for (int i = 0; i < n; i++) {
        const struct plan_operation *op = &p->operations[i];
        extend(&b[op->in], i);
        extend(&b[op->out], i);
        if (op->residual >= 0)
            extend(&b[op->residual], i);
        if (op->kind == PLAN_HALVES_MIX)
            extend(&b[op->logits], i);
        if (training && i >= p->frozen)
            extend_backward(p, i, b, grad_of);
    }
    if (training && input_grad)
        extend(&b[grad_of[0]], 2 * n - 1);
}

int plan_lay_out(const struct plan *p, int64_t images, int64_t h, int64_t w, size_t element,
                 bool training, bool input_grad, struct plan_layout *out)
{
    const size_t n = (size_t)p->n_tensors;
    *out = (struct plan_layout){.maps = calloc(n, sizeof *out->maps)};
    size_t *map_bytes = calloc(n, sizeof *map_bytes);
    struct buffer *buffers = calloc(2 * n, sizeof *buffers);
    struct buffer **live = calloc(2 * n, sizeof *live);
    int *grad_of = calloc(n, sizeof *grad_of);
    size_t *at = calloc(2 * n, sizeof *at);
    int status = -1;
    if (!out->maps || !map_bytes || !buffers || !live || !grad_of || !at) {
        fail_memory(NULL);
        goto done;
    }
    for (size_t t = 0; t < n; t++)
        out->maps[t].c = p->channels[t];
    out->maps[0].h = h;
    out->maps[0].w = w;
    if (p->series && h != 1) {
        fail("a series has one row, not %lld", (long long)h);
        goto done;
    }
    if (size_maps(p, images, element, out->maps, map_bytes))
        goto done;
    const int never = 2 * p->n_operations + 1;
    for (size_t i = 0; i < 2 * n; i++)
        buffers[i] = (struct buffer){
            .bytes = map_bytes[i % n], .birth = never, .death = -1, .order = (int)i};
    find_gradients(p, training, input_grad, grad_of);
    find_lives(p, training, input_grad, buffers, grad_of);
    for (size_t i = 0; i < 2 * n; i++)
        if (buffers[i].birth == never)
            buffers[i].bytes = 0; /* the buffer is never used */
    qsort(buffers, 2 * n, sizeof *buffers, by_size);
    if (place(buffers, 2 * (int)n, live, &out->bytes))
        goto done;
    for (size_t i = 0; i < 2 * n; i++)
        at[buffers[i].order] = buffers[i].at;
    for (size_t t = 0; t < n; t++) {
        out->maps[t].value = at[t];
        out->maps[t].grad = grad_of[t] < 0 ? SIZE_MAX : at[grad_of[t]];
    }
    status = 0;
done:
    free(map_bytes);
    free(buffers);
    free(live);
    free(grad_of);
    free(at);
    if (status)
        plan_layout_clear(out);
    return status;
}

void plan_layout_clear(struct plan_layout *l)
{
    free(l->maps);
    *l = (struct plan_layout){0};
}
