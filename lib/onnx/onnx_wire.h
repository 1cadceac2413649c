/* onnx_wire: messages in the wire format of protocol buffers, in memory.
 *
 * A message is a sequence of fields in any order. A field begins with a varint, 8 x its number + its
 * wire type. Integers follow as varints (type 0), float32 as 4 little-endian bytes (type 5), and
 * texts, bytes and nested messages as a varint of their length and then the bytes (type 2). Source:
 * https://protobuf.dev/programming-guides/encoding/ */
#ifndef ONNX_WIRE_H
#define ONNX_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A message that grows. Initialize it with {0}. */
struct onnx_wire {
    unsigned char *data;
    size_t size;
    size_t room; /* the module's own: bytes that data has room for */
    bool failed; /* memory ran out, so the message is incomplete */
};

void onnx_wire_free(struct onnx_wire *w); /* leaves {0} */

/* Each of these appends a field. If memory runs out, it sets w->failed; so a caller appends all
 * fields and checks once. onnx_wire_message() appends `inner` as a nested message, frees it, and
 * takes over its failure. */
void onnx_wire_integer(struct onnx_wire *w, int field, int64_t value);
void onnx_wire_float(struct onnx_wire *w, int field, float value);
void onnx_wire_text(struct onnx_wire *w, int field, const char *text);
void onnx_wire_message(struct onnx_wire *w, int field, struct onnx_wire *inner);

/* Appends the beginning of a field of `size` bytes, which the caller appends or writes next.
 * onnx_wire_append() appends the fields of `other`, frees it, and takes over its failure. */
void onnx_wire_begin(struct onnx_wire *w, int field, size_t size);
void onnx_wire_append(struct onnx_wire *w, struct onnx_wire *other);

#endif
