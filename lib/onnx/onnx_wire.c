#include "onnx/onnx_wire.h"

#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, LENGTH = 2, FIXED32 = 5 }; /* wire types */

void onnx_wire_free(struct onnx_wire *w)
{
    free(w->data);
    *w = (struct onnx_wire){0};
}

static void append(struct onnx_wire *w, const void *bytes, size_t n)
{
    while (!w->failed && w->room - w->size < n) {
        const size_t room = w->room ? 2 * w->room : 256;
        unsigned char *data = room > w->room ? realloc(w->data, room) : NULL;
        w->failed = !data;
        if (data) {
            w->data = data;
            w->room = room;
        }
    }
    if (w->failed || n == 0)
        return;
    memcpy(w->data + w->size, bytes, n);
    w->size += n;
}

/* Appends 7 bits a byte, the lowest first; the top bit says that more follow. */
static void append_varint(struct onnx_wire *w, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    for (; value > 0x7f; value >>= 7)
        bytes[n++] = (unsigned char)(0x80 | (value & 0x7f));
    bytes[n++] = (unsigned char)value;
    append(w, bytes, n);
}

static void append_key(struct onnx_wire *w, int field, int type)
{
    append_varint(w, (uint64_t)field << 3 | (uint64_t)type);
}

void onnx_wire_integer(struct onnx_wire *w, int field, int64_t value)
{
    append_key(w, field, VARINT);
    append_varint(w, (uint64_t)value);
}

void onnx_wire_float(struct onnx_wire *w, int field, float value)
{
    append_key(w, field, FIXED32);
    append(w, &value, sizeof value);
}

void onnx_wire_begin(struct onnx_wire *w, int field, size_t size)
{
    append_key(w, field, LENGTH);
    append_varint(w, size);
}

void onnx_wire_text(struct onnx_wire *w, int field, const char *text)
{
    onnx_wire_begin(w, field, strlen(text));
    append(w, text, strlen(text));
}

void onnx_wire_append(struct onnx_wire *w, struct onnx_wire *other)
{
    w->failed = w->failed || other->failed;
    append(w, other->data, other->size);
    onnx_wire_free(other);
}

void onnx_wire_message(struct onnx_wire *w, int field, struct onnx_wire *inner)
{
    onnx_wire_begin(w, field, inner->size);
    onnx_wire_append(w, inner);
}
