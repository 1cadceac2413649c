#include "base/protobuf.h"

#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, FIXED64 = 1, LENGTH = 2, FIXED32 = 5 }; /* wire types */

void protobuf_free(struct protobuf *w)
{
    free(w->data);
    *w = (struct protobuf){0};
}

static void append(struct protobuf *w, const void *bytes, size_t n)
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
static void append_varint(struct protobuf *w, uint64_t value)
{
    unsigned char bytes[10];
    size_t n = 0;
    for (; value > 0x7f; value >>= 7)
        bytes[n++] = (unsigned char)(0x80 | (value & 0x7f));
    bytes[n++] = (unsigned char)value;
    append(w, bytes, n);
}

static void append_key(struct protobuf *w, int field, int type)
{
    append_varint(w, (uint64_t)field << 3 | (uint64_t)type);
}

void protobuf_integer(struct protobuf *w, int field, int64_t value)
{
    append_key(w, field, VARINT);
    append_varint(w, (uint64_t)value);
}

void protobuf_float(struct protobuf *w, int field, float value)
{
    append_key(w, field, FIXED32);
    append(w, &value, sizeof value);
}

void protobuf_double(struct protobuf *w, int field, double value)
{
    append_key(w, field, FIXED64);
    append(w, &value, sizeof value);
}

void protobuf_begin(struct protobuf *w, int field, size_t size)
{
    append_key(w, field, LENGTH);
    append_varint(w, size);
}

void protobuf_text(struct protobuf *w, int field, const char *text)
{
    protobuf_begin(w, field, strlen(text));
    append(w, text, strlen(text));
}

void protobuf_append(struct protobuf *w, struct protobuf *other)
{
    w->failed = w->failed || other->failed;
    append(w, other->data, other->size);
    protobuf_free(other);
}

void protobuf_message(struct protobuf *w, int field, struct protobuf *inner)
{
    protobuf_begin(w, field, inner->size);
    protobuf_append(w, inner);
}
