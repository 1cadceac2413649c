#include "onnx/onnx_graph.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/grow.h"
#include "base/protobuf.h"

/* The numbers of fields, by message. */
enum {
    MODEL_IR_VERSION = 1,
    MODEL_PRODUCER_NAME = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET_IMPORT = 8,
    MODEL_METADATA_PROPS = 14,
    OPSET_VERSION = 2,
    ENTRY_KEY = 1,
    ENTRY_VALUE = 2,
    GRAPH_NODE = 1,
    GRAPH_NAME = 2,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP_TYPE = 4,
    NODE_ATTRIBUTE = 5,
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_F = 2,
    ATTRIBUTE_I = 3,
    ATTRIBUTE_INTS = 8,
    ATTRIBUTE_TYPE = 20,
    TENSOR_DIMS = 1,
    TENSOR_DATA_TYPE = 2,
    TENSOR_NAME = 8,
    TENSOR_RAW_DATA = 9,
    VALUE_NAME = 1,
    VALUE_TYPE = 2,
    TYPE_TENSOR = 1,
    TENSOR_TYPE_ELEMENT = 1,
    TENSOR_TYPE_SHAPE = 2,
    SHAPE_DIM = 1,
    DIM_NUMBER = 1,
    DIM_NAME = 2
};
enum { ELEMENT_FLOAT = 1 };                                   /* TensorProto.DataType */
enum { TYPE_FLOAT = 1, TYPE_INTEGER = 2, TYPE_INTEGERS = 7 }; /* AttributeProto.AttributeType */

/* An initial tensor: the beginning of its message, up to the values, and the values. */
struct initial {
    struct protobuf head; /* with the field's key in the graph, and the length of the message */
    const float *values;
    size_t bytes; /* of the values */
    float *own;   /* the values if the graph owns them */
};

struct onnx_graph {
    struct protobuf metas; /* the model's metadata */
    struct protobuf rest;  /* the graph but for initial tensors */
    struct initial *initials;
    int n_initials;
    int64_t room_initials;
    bool failed; /* memory is out, or a tensor's size overflows */
};

struct onnx_graph *onnx_graph_new(const char *name)
{
    struct onnx_graph *g = calloc(1, sizeof *g);
    if (!g) {
        fail_memory(NULL);
        return NULL;
    }
    protobuf_text(&g->rest, GRAPH_NAME, name);
    return g;
}

void onnx_graph_free(struct onnx_graph *g)
{
    if (!g)
        return;
    for (int i = 0; i < g->n_initials; i++) {
        protobuf_free(&g->initials[i].head);
        free(g->initials[i].own);
    }
    free(g->initials);
    protobuf_free(&g->metas);
    protobuf_free(&g->rest);
    free(g);
}

static void add_value(struct onnx_graph *g, int field, const char *name, int ndim,
                      const struct onnx_dim *shape)
{
    struct protobuf value = {0}, type = {0}, tensor = {0}, dims = {0};
    for (int i = 0; i < ndim; i++) {
        struct protobuf dim = {0};
        if (shape[i].name)
            protobuf_text(&dim, DIM_NAME, shape[i].name);
        else
            protobuf_integer(&dim, DIM_NUMBER, shape[i].number);
        protobuf_message(&dims, SHAPE_DIM, &dim);
    }
    protobuf_integer(&tensor, TENSOR_TYPE_ELEMENT, ELEMENT_FLOAT);
    protobuf_message(&tensor, TENSOR_TYPE_SHAPE, &dims);
    protobuf_message(&type, TYPE_TENSOR, &tensor);
    protobuf_text(&value, VALUE_NAME, name);
    protobuf_message(&value, VALUE_TYPE, &type);
    protobuf_message(&g->rest, field, &value);
}

void onnx_graph_input(struct onnx_graph *g, const char *name, int ndim,
                      const struct onnx_dim *shape)
{
    add_value(g, GRAPH_INPUT, name, ndim, shape);
}

void onnx_graph_output(struct onnx_graph *g, const char *name, int ndim,
                       const struct onnx_dim *shape)
{
    add_value(g, GRAPH_OUTPUT, name, ndim, shape);
}

void onnx_graph_tensor(struct onnx_graph *g, const char *name, int ndim, const int64_t *shape,
                       const float *values)
{
    struct initial *list = grow(g->initials, g->n_initials, &g->room_initials, sizeof *list);
    if (!list) {
        g->failed = true;
        return;
    }
    g->initials = list;
    struct initial *add = &list[g->n_initials++];
    *add = (struct initial){.values = values, .bytes = sizeof *values};
    struct protobuf tensor = {0};
    for (int i = 0; i < ndim; i++) {
        g->failed = g->failed || __builtin_mul_overflow(add->bytes, shape[i], &add->bytes);
        protobuf_integer(&tensor, TENSOR_DIMS, shape[i]);
    }
    protobuf_integer(&tensor, TENSOR_DATA_TYPE, ELEMENT_FLOAT);
    protobuf_text(&tensor, TENSOR_NAME, name);
    protobuf_begin(&tensor, TENSOR_RAW_DATA, add->bytes);
    /* The length of a nested message precedes it, and this one ends with the values. */
    size_t size;
    g->failed = g->failed || __builtin_add_overflow(tensor.size, add->bytes, &size);
    if (g->failed)
        size = 0;
    protobuf_begin(&add->head, GRAPH_INITIALIZER, size);
    protobuf_append(&add->head, &tensor);
    g->failed = g->failed || add->head.failed;
}

float *onnx_graph_own_tensor(struct onnx_graph *g, const char *name, int ndim, const int64_t *shape)
{
    size_t count = 1;
    for (int i = 0; i < ndim; i++)
        if (__builtin_mul_overflow(count, shape[i], &count))
            return fail_null("%s: too large", name);
    float *values = calloc(count ? count : 1, sizeof *values);
    const int before = g->n_initials;
    if (values)
        onnx_graph_tensor(g, name, ndim, shape, values);
    if (!values || g->n_initials == before) {
        free(values);
        fail_memory(name);
        return NULL;
    }
    g->initials[before].own = values;
    return values;
}

static void add_attribute(struct protobuf *node, const struct onnx_attribute *a)
{
    struct protobuf message = {0};
    protobuf_text(&message, ATTRIBUTE_NAME, a->name);
    if (a->kind == ONNX_INTEGER) {
        protobuf_integer(&message, ATTRIBUTE_I, a->integer);
        protobuf_integer(&message, ATTRIBUTE_TYPE, TYPE_INTEGER);
    } else if (a->kind == ONNX_FLOAT) {
        protobuf_float(&message, ATTRIBUTE_F, a->number);
        protobuf_integer(&message, ATTRIBUTE_TYPE, TYPE_FLOAT);
    } else {
        for (int i = 0; i < a->n; i++)
            protobuf_integer(&message, ATTRIBUTE_INTS, a->integers[i]);
        protobuf_integer(&message, ATTRIBUTE_TYPE, TYPE_INTEGERS);
    }
    protobuf_message(node, NODE_ATTRIBUTE, &message);
}

void onnx_graph_node(struct onnx_graph *g, const struct onnx_node *node)
{
    struct protobuf message = {0};
    for (const char *const *in = node->inputs; *in; in++)
        protobuf_text(&message, NODE_INPUT, *in);
    for (const char *const *out = node->outputs; *out; out++)
        protobuf_text(&message, NODE_OUTPUT, *out);
    protobuf_text(&message, NODE_NAME, node->outputs[0]);
    protobuf_text(&message, NODE_OP_TYPE, node->op);
    for (const struct onnx_attribute *a = node->attributes; a->name; a++)
        add_attribute(&message, a);
    protobuf_message(&g->rest, GRAPH_NODE, &message);
}

void onnx_graph_meta(struct onnx_graph *g, const char *key, const char *value)
{
    struct protobuf entry = {0};
    protobuf_text(&entry, ENTRY_KEY, key);
    protobuf_text(&entry, ENTRY_VALUE, value);
    protobuf_message(&g->metas, MODEL_METADATA_PROPS, &entry);
}

/* Makes the message of the whole model up to the graph's own bytes, of which there are `size`. */
static void begin_model(struct protobuf *model, struct onnx_graph *g, size_t size)
{
    struct protobuf opset = {0};
    protobuf_integer(model, MODEL_IR_VERSION, ONNX_IR_VERSION);
    protobuf_text(model, MODEL_PRODUCER_NAME, "simclr");
    protobuf_text(model, MODEL_PRODUCER_VERSION, SIMCLR_VERSION);
    protobuf_integer(&opset, OPSET_VERSION, ONNX_OPSET);
    protobuf_message(model, MODEL_OPSET_IMPORT, &opset);
    protobuf_append(model, &g->metas);
    protobuf_begin(model, MODEL_GRAPH, size);
}

static bool put(FILE *file, const void *bytes, size_t n)
{
    return n == 0 || fwrite(bytes, 1, n, file) == n;
}

/* Writes all bytes to a file that is open. */
static bool put_all(const struct onnx_graph *g, const struct protobuf *model, FILE *file)
{
    bool good = put(file, model->data, model->size) && put(file, g->rest.data, g->rest.size);
    for (int i = 0; i < g->n_initials && good; i++) {
        const struct initial *t = &g->initials[i];
        good = put(file, t->head.data, t->head.size) && put(file, t->values, t->bytes);
    }
    return good;
}

int onnx_graph_write(struct onnx_graph *g, const char *path)
{
    size_t size = g->rest.size;
    for (int i = 0; i < g->n_initials; i++)
        if (__builtin_add_overflow(size, g->initials[i].head.size, &size) ||
            __builtin_add_overflow(size, g->initials[i].bytes, &size))
            g->failed = true;
    struct protobuf model = {0};
    begin_model(&model, g, size);
    struct atomic_file file;
    int status = -1;
    if (g->failed || g->rest.failed || model.failed) {
        fail_memory(path);
    } else if (size > INT_MAX - model.size) {
        fail("%s: the model has %zu bytes, and an ONNX file holds at most 2 GiB; .safetensors and "
             ".pth hold more",
             path, size);
    } else if (!atomic_file_open(&file, path)) {
        errno = 0;
        if (put_all(g, &model, file.file)) {
            status = atomic_file_commit(&file);
        } else {
            fail("%s: %s", path, strerror(errno));
            atomic_file_abandon(&file);
        }
    }
    protobuf_free(&model);
    return status;
}
