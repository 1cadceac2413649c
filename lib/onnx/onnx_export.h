/* onnx_export: writes a network as an ONNX model, from its plan.
 *
 * The model's input is images F32 [N,C,H,W] with values between 0 and 1 (C channels in the order of
 * the training images), or a series F32 [N,C,T]. Normalization is inside. Its first output is
 * `features` F32 [N,D]. It computes what network_forward() computes in evaluation. The metadata
 * `encoder` describes the network (encoder.h). */
#ifndef ONNX_EXPORT_H
#define ONNX_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "network/encoder.h"
#include "network/plan.h"

/* A network that reads the features: a projection head or a classifier. */
struct onnx_head {
    struct plan *plan;
    const char *output; /* the name of its output, F32 [N,d] */
};

struct onnx_export {
    const struct encoder *encoder; /* the description: its normalization, channels and kind */
    struct plan *plan;             /* the encoder's plan (encoder_plan()), with its values */
    struct onnx_head heads[2];
    int n_heads;
    const char *class_names; /* for the metadata: a JSON array of strings, or NULL */
    int64_t size;            /* pixels a side, or steps of a series; 0: any height and width */
    bool fold;               /* put batch norms into the convolutions before them */
};

/* Writes the model to `path`, which appears when it is complete. The plans stay the caller's; with
 * `fold`, their weights change: each output channel o of a convolution becomes w[o] s[o], with
 * s = gamma / sqrt(variance + 1e-5), and gets the bias beta - mean s. Both are computed in double
 * and rounded once. Returns -1 with a message if the normalization is for another number of
 * channels, a folded weight is not finite, or the file cannot be written (onnx_graph_write()). */
int onnx_export(const struct onnx_export *e, const char *path);

#endif
