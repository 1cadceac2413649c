#include "onnx/onnx_export.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "onnx/onnx_graph.h"

enum { NAME = 128 };                /* bytes of a value's name, with the 0 at its end */
static const double epsilon = 1e-5; /* of batch norms, as in network_forward.c */

/* The state of writing one plan's operations as nodes. */
struct writer {
    struct onnx_graph *graph;
    struct plan *plan;
    const char *output; /* the name of the plan's output in the graph */
    int dims;           /* of a map beside images and channels: 2, 1 for series, 0 for a head */
    bool fold;
    char (*names)[NAME]; /* of each tensor's value in the graph */
};

static struct parameter *parameter_of(const struct writer *w, int index)
{
    return &w->plan->parameters.list[index];
}

/* Writes the name of the module that has this parameter, and a suffix: "layer1.0.bn1" and ".relu"
 * for layer1.0.bn1.weight. */
static void name_after(char name[NAME], const struct parameter *p, const char *suffix)
{
    const char *dot = strrchr(p->name, '.');
    snprintf(name, NAME, "%.*s%s", (int)(dot ? dot - p->name : (long)strlen(p->name)), p->name,
             suffix);
}

static void add_parameter(const struct writer *w, const struct parameter *p)
{
    onnx_graph_tensor(w->graph, p->name, p->ndim, p->shape, p->value);
}

/* Adds a node without attributes, which has one output and up to three inputs. */
static void add_node(const struct writer *w, const char *kind, const char *output, const char *a,
                     const char *b, const char *c)
{
    onnx_graph_node(w->graph,
                    &(struct onnx_node){.op = kind, .inputs = {a, b, c}, .outputs = {output}});
}

/* ---- batch norms ---- */

/* Returns the batch norm that reads tensor t, or NULL. It is the tensor's only reader. */
static const struct plan_operation *norm_of(const struct plan *p, int t)
{
    for (int i = 0; i < p->n_operations; i++)
        if (p->operations[i].kind == PLAN_BATCH_NORM && p->operations[i].in == t)
            return &p->operations[i];
    return NULL;
}

/* Folds a norm into the convolution's weights, and writes the bias (c). */
static int fold(const struct writer *w, struct parameter *weight, const struct plan_operation *norm,
                float *bias)
{
    const float *gamma = parameter_of(w, norm->weight)->value;
    const float *beta = norm->bias < 0 ? NULL : parameter_of(w, norm->bias)->value;
    const float *mean = parameter_of(w, norm->mean)->value;
    const float *variance = parameter_of(w, norm->variance)->value;
    float *values = weight->value;
    const size_t outputs = (size_t)weight->shape[0], each = weight->count / outputs;
    bool finite = true;
    for (size_t o = 0; o < outputs; o++) {
        const double scale = (double)gamma[o] / sqrt((double)variance[o] + epsilon);
        bias[o] = (float)((beta ? (double)beta[o] : 0) - (double)mean[o] * scale);
        finite = finite && isfinite(bias[o]);
        for (size_t i = o * each; i < (o + 1) * each; i++) {
            values[i] = (float)((double)values[i] * scale);
            finite = finite && isfinite(values[i]);
        }
    }
    return finite ? 0
                  : fail("%s: with its batch norm folded in, a weight is not finite; try without "
                         "--fold",
                         weight->name);
}

/* Adds the nodes of relu(norm(in) + residual). */
static int add_norm(const struct writer *w, const struct plan_operation *op)
{
    const struct parameter *weight = parameter_of(w, op->weight);
    char x[NAME], next[NAME], zeros[NAME];
    snprintf(x, NAME, "%s", w->names[op->in]);
    if (!w->fold) {
        name_after(next, weight, "");
        name_after(zeros, weight, ".zeros");
        const struct parameter *mean = parameter_of(w, op->mean);
        const struct parameter *variance = parameter_of(w, op->variance);
        const char *beta = op->bias < 0 ? zeros : parameter_of(w, op->bias)->name;
        add_parameter(w, weight);
        if (op->bias >= 0)
            add_parameter(w, parameter_of(w, op->bias));
        else if (!onnx_graph_own_tensor(w->graph, zeros, 1, weight->shape))
            return -1;
        add_parameter(w, mean);
        add_parameter(w, variance);
        onnx_graph_node(
            w->graph,
            &(struct onnx_node){
                .op = "BatchNormalization",
                .inputs = {x, weight->name, beta, mean->name, variance->name},
                .outputs = {next},
                .attributes = {{.name = "epsilon", .kind = ONNX_FLOAT, .number = (float)epsilon}}});
        snprintf(x, NAME, "%s", next);
    }
    if (op->residual >= 0) {
        name_after(next, weight, ".sum");
        add_node(w, "Add", next, x, w->names[op->residual], NULL);
        snprintf(x, NAME, "%s", next);
    }
    if (op->relu) {
        name_after(next, weight, ".relu");
        add_node(w, "Relu", next, x, NULL, NULL);
        snprintf(x, NAME, "%s", next);
    }
    snprintf(w->names[op->out], NAME, "%s", x);
    return 0;
}

/* ---- convolutions and windows ---- */

/* Returns an attribute of one number for each dimension of a map, times `times`. */
static struct onnx_attribute for_each_dim(const struct writer *w, const char *name, int times,
                                          int64_t number)
{
    struct onnx_attribute a = {.name = name, .kind = ONNX_INTEGERS, .n = times * w->dims};
    for (int i = 0; i < a.n; i++)
        a.integers[i] = number;
    return a;
}

static int add_convolution(const struct writer *w, const struct plan_operation *op)
{
    struct parameter *weight = parameter_of(w, op->weight);
    const struct plan_operation *norm = w->fold ? norm_of(w->plan, op->out) : NULL;
    char bias[NAME];
    char *name = w->names[op->out];
    name_after(name, weight, "");
    name_after(bias, weight, ".bias");
    if (norm) {
        float *b = onnx_graph_own_tensor(w->graph, bias, 1, weight->shape);
        if (!b || fold(w, weight, norm, b))
            return -1;
    }
    add_parameter(w, weight);
    struct onnx_node node = {.op = "Conv",
                             .inputs = {w->names[op->in], weight->name, norm ? bias : NULL},
                             .outputs = {name}};
    if (weight->ndim == 2) {
        node.op = "Gemm";
        node.attributes[0] =
            (struct onnx_attribute){.name = "transB", .kind = ONNX_INTEGER, .integer = 1};
    } else {
        assert(weight->ndim == 2 + w->dims);
        node.attributes[0] = for_each_dim(w, "kernel_shape", 1, op->kernel);
        node.attributes[1] = for_each_dim(w, "strides", 1, op->stride);
        node.attributes[2] = for_each_dim(w, "pads", 2, op->padding);
    }
    onnx_graph_node(w->graph, &node);
    return 0;
}

static void add_bias(const struct writer *w, const struct plan_operation *op)
{
    const struct parameter *bias = parameter_of(w, op->bias);
    add_parameter(w, bias);
    name_after(w->names[op->out], bias, ".sum");
    add_node(w, "Add", w->names[op->out], w->names[op->in], bias->name, NULL);
}

static void add_max_pool(const struct writer *w, const struct plan_operation *op)
{
    snprintf(w->names[op->out], NAME, "maxpool.%d", op->out);
    onnx_graph_node(
        w->graph, &(struct onnx_node){.op = "MaxPool",
                                      .inputs = {w->names[op->in]},
                                      .outputs = {w->names[op->out]},
                                      .attributes = {for_each_dim(w, "kernel_shape", 1, op->kernel),
                                                     for_each_dim(w, "strides", 1, op->stride),
                                                     for_each_dim(w, "pads", 2, op->padding)}});
}

/* The zeros beyond the lower and right edge, which plan_mean_pool() includes in the mean, are one
 * row and one column of padding at the end. If a map of stride 2 has an even size, no window reaches
 * them. */
static void add_mean_pool(const struct writer *w, const struct plan_operation *op)
{
    snprintf(w->names[op->out], NAME, "meanpool.%d", op->out);
    struct onnx_attribute pads = for_each_dim(w, "pads", 2, 0);
    for (int i = 0; i < w->dims; i++)
        pads.integers[w->dims + i] = op->kernel - 1;
    onnx_graph_node(
        w->graph,
        &(struct onnx_node){
            .op = "AveragePool",
            .inputs = {w->names[op->in]},
            .outputs = {w->names[op->out]},
            .attributes = {for_each_dim(w, "kernel_shape", 1, op->kernel),
                           for_each_dim(w, "strides", 1, op->stride),
                           pads,
                           {.name = "count_include_pad", .kind = ONNX_INTEGER, .integer = 1}}});
}

static void add_average_pool(const struct writer *w, const struct plan_operation *op)
{
    char name[NAME];
    snprintf(name, NAME, "avgpool.%d", op->out);
    snprintf(w->names[op->out], NAME, "%s", w->output);
    add_node(w, "GlobalAveragePool", name, w->names[op->in], NULL, NULL);
    add_node(w, "Flatten", w->output, name, NULL, NULL);
}

/* ---- selective kernels ---- */

/* Adds a node that splits the channels of x into two halves, and writes their names. */
static void split(const struct writer *w, const char *x, const char *what, int t, char a[NAME],
                  char b[NAME])
{
    snprintf(a, NAME, "halves.%d.%s.0", t, what);
    snprintf(b, NAME, "halves.%d.%s.1", t, what);
    onnx_graph_node(
        w->graph,
        &(struct onnx_node){.op = "Split",
                            .inputs = {x},
                            .outputs = {a, b},
                            .attributes = {{.name = "axis", .kind = ONNX_INTEGER, .integer = 1}}});
}

/* The mean of a + b is the mean of a plus that of b. */
static void add_halves_mean(const struct writer *w, const struct plan_operation *op)
{
    char mean[NAME], a[NAME], b[NAME];
    snprintf(mean, NAME, "halves.%d.means", op->out);
    snprintf(w->names[op->out], NAME, "halves.%d.mean", op->out);
    add_node(w, "GlobalAveragePool", mean, w->names[op->in], NULL, NULL);
    split(w, mean, "mean", op->out, a, b);
    add_node(w, "Add", w->names[op->out], a, b, NULL);
}

/* A softmax over two values p and q is sigmoid(p - q) and sigmoid(q - p). */
static void add_halves_mix(const struct writer *w, const struct plan_operation *op)
{
    char a[2][NAME], logits[2][NAME], difference[NAME], weight[NAME], product[2][NAME];
    split(w, w->names[op->in], "map", op->out, a[0], a[1]);
    split(w, w->names[op->logits], "logits", op->out, logits[0], logits[1]);
    for (int i = 0; i < 2; i++) {
        snprintf(difference, NAME, "halves.%d.difference.%d", op->out, i);
        snprintf(weight, NAME, "halves.%d.weight.%d", op->out, i);
        snprintf(product[i], NAME, "halves.%d.product.%d", op->out, i);
        add_node(w, "Sub", difference, logits[i], logits[1 - i], NULL);
        add_node(w, "Sigmoid", weight, difference, NULL, NULL);
        add_node(w, "Mul", product[i], a[i], weight, NULL);
    }
    snprintf(w->names[op->out], NAME, "halves.%d.mix", op->out);
    add_node(w, "Add", w->names[op->out], product[0], product[1], NULL);
}

/* ---- whole networks ---- */

static int add_operation(const struct writer *w, const struct plan_operation *op)
{
    switch (op->kind) {
    case PLAN_CONVOLUTION:
        return add_convolution(w, op);
    case PLAN_BATCH_NORM:
        return add_norm(w, op);
    case PLAN_BIAS:
        add_bias(w, op);
        break;
    case PLAN_MAX_POOL:
        add_max_pool(w, op);
        break;
    case PLAN_MEAN_POOL:
        add_mean_pool(w, op);
        break;
    case PLAN_AVERAGE_POOL:
        add_average_pool(w, op);
        break;
    case PLAN_HALVES_MEAN:
        add_halves_mean(w, op);
        break;
    case PLAN_HALVES_MIX:
        add_halves_mix(w, op);
        break;
    }
    return 0;
}

/* Adds the nodes and tensors of a plan that reads the value `input`, and its output. */
static int add_plan(struct writer *w, const char *input)
{
    const struct plan *p = w->plan;
    const int last = p->n_tensors - 1;
    w->names = calloc((size_t)p->n_tensors, sizeof *w->names);
    if (!w->names)
        return fail_memory(NULL);
    snprintf(w->names[0], NAME, "%s", input);
    int bad = 0;
    for (int i = 0; i < p->n_operations && !bad; i++)
        bad = add_operation(w, &p->operations[i]);
    if (!bad && strcmp(w->names[last], w->output) != 0)
        add_node(w, "Identity", w->output, w->names[last], NULL, NULL);
    free(w->names);
    const struct onnx_dim shape[] = {{.name = "N"}, {.number = p->channels[last]}};
    onnx_graph_output(w->graph, w->output, 2, shape);
    return bad;
}

/* Adds the input and its normalization. Returns the name of the value that the plan reads, or NULL
 * with a message. Series are not normalized: encode takes them as they are. */
static const char *add_input(const struct onnx_export *e, struct onnx_graph *g)
{
    const struct normalization *n = &e->encoder->normalize;
    const int64_t channels = e->encoder->channels;
    const bool series = e->plan->series, any = e->size == 0;
    const struct onnx_dim shape[] = {{.name = "N"},
                                     {.number = channels},
                                     {any ? series ? "T" : "H" : NULL, e->size},
                                     {any ? "W" : NULL, e->size}};
    const char *input = series ? "series" : "images";
    onnx_graph_input(g, input, series ? 3 : 4, shape);
    if (series || n->channels == 0)
        return input;
    if (n->channels != channels)
        return fail_null("the normalization is for %d channels, and the network reads %lld",
                         n->channels, (long long)channels);
    const int64_t each[] = {channels, 1, 1};
    onnx_graph_tensor(g, "normalize.mean", 3, each, n->mean);
    onnx_graph_tensor(g, "normalize.std", 3, each, n->std);
    onnx_graph_node(g, &(struct onnx_node){.op = "Sub",
                                           .inputs = {input, "normalize.mean"},
                                           .outputs = {"normalize.difference"}});
    onnx_graph_node(g, &(struct onnx_node){.op = "Div",
                                           .inputs = {"normalize.difference", "normalize.std"},
                                           .outputs = {"normalize"}});
    return "normalize";
}

int onnx_export(const struct onnx_export *e, const char *path)
{
    struct onnx_graph *g = onnx_graph_new(e->encoder->arch);
    const char *input = g ? add_input(e, g) : NULL;
    struct writer w = {.graph = g,
                       .plan = e->plan,
                       .output = "features",
                       .dims = e->plan->series ? 1 : 2,
                       .fold = e->fold};
    int bad = input ? add_plan(&w, input) : -1;
    for (int i = 0; i < e->n_heads && !bad; i++) {
        w = (struct writer){
            .graph = g, .plan = e->heads[i].plan, .output = e->heads[i].output, .fold = e->fold};
        bad = add_plan(&w, "features");
    }
    char text[ENCODER_TEXT];
    encoder_print(e->encoder, text);
    if (!bad) {
        onnx_graph_meta(g, "encoder", text);
        if (e->class_names)
            onnx_graph_meta(g, "class_names", e->class_names);
    }
    bad = bad ? fail_prefix("%s", path) : onnx_graph_write(g, path);
    onnx_graph_free(g);
    return bad;
}
