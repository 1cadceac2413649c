/* onnx_graph: an ONNX model, made node by node and written as a file.
 *
 * The numbers of fields and types are those of onnx.proto
 * (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto), of which this module writes the few
 * messages that a network needs. Values between nodes have names, as initial tensors (weights) and
 * the graph's inputs and outputs do; a name is defined once. */
#ifndef ONNX_GRAPH_H
#define ONNX_GRAPH_H

#include <stdint.h>

enum {
    ONNX_IR_VERSION = 8, /* of the file format; onnx 1.10 and later read it */
    ONNX_OPSET = 17,     /* version of the operators */
    ONNX_MAX_DIMS = 4
};

struct onnx_graph;

/* Returns an empty graph, or NULL with a message if memory is out. The functions below copy names
 * and texts. If memory runs out in one of them, onnx_graph_write() fails. */
struct onnx_graph *onnx_graph_new(const char *name);
void onnx_graph_free(struct onnx_graph *g); /* NULL is fine */

/* A dimension: a number, or a name if any number is possible. */
struct onnx_dim {
    const char *name; /* NULL: the number */
    int64_t number;
};

/* Declare an input or an output of the graph, float32 of that shape. */
void onnx_graph_input(struct onnx_graph *g, const char *name, int ndim,
                      const struct onnx_dim *shape);
void onnx_graph_output(struct onnx_graph *g, const char *name, int ndim,
                       const struct onnx_dim *shape);

/* Add a float32 tensor of that shape. onnx_graph_tensor() reads the caller's values when the graph
 * is written. onnx_graph_own_tensor() returns zeros for the caller to fill, which the graph owns,
 * or NULL with a message if memory is out. */
void onnx_graph_tensor(struct onnx_graph *g, const char *name, int ndim, const int64_t *shape,
                       const float *values);
float *onnx_graph_own_tensor(struct onnx_graph *g, const char *name, int ndim,
                             const int64_t *shape);

/* An operator that computes one or more values of others. */
struct onnx_node {
    const char *op;         /* "Conv" */
    const char *inputs[6];  /* NULL ends the list */
    const char *outputs[3]; /* NULL ends the list; the first one also names the node */
    struct onnx_attribute {
        const char *name; /* NULL ends the list */
        enum onnx_attribute_kind { ONNX_INTEGER, ONNX_FLOAT, ONNX_INTEGERS } kind;
        int64_t integer;
        float number;
        int n; /* ONNX_INTEGERS: how many */
        int64_t integers[2 * ONNX_MAX_DIMS];
    } attributes[5];
};
void onnx_graph_node(struct onnx_graph *g, const struct onnx_node *node);

/* Adds key = value to the model's metadata. */
void onnx_graph_meta(struct onnx_graph *g, const char *key, const char *value);

/* Writes the model to a file, which appears when it is complete. Returns -1 with a message if the file would be larger than 2 GiB, which protocol
 * buffers exclude, if memory ran out, or if writing fails. */
int onnx_graph_write(struct onnx_graph *g, const char *path);

#endif
