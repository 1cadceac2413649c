/* protobuf: messages in the wire format of protocol buffers, in memory.
 *
 * A message is a sequence of fields in any order. A field begins with a varint, 8 x its number + its
 * wire type. Integers follow as varints (type 0), float32 and float64 as 4 or 8 little-endian bytes
 * (types 5 and 1), and texts, bytes and nested messages as a varint of their length and then the
 * bytes (type 2). Source: https://protobuf.dev/programming-guides/encoding/ */
#ifndef PROTOBUF_H
#define PROTOBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A message that grows. Initialize it with {0}. */
struct protobuf {
    unsigned char *data;
    size_t size;
    size_t room; /* the module's own: bytes that data has room for */
    bool failed; /* memory ran out, so the message is incomplete */
};

void protobuf_free(struct protobuf *w); /* leaves {0} */

/* Each of these appends a field. If memory runs out, it sets w->failed; so a caller appends all
 * fields and checks once. protobuf_message() appends `inner` as a nested message, frees it, and
 * takes over its failure. */
void protobuf_integer(struct protobuf *w, int field, int64_t value);
void protobuf_float(struct protobuf *w, int field, float value);
void protobuf_double(struct protobuf *w, int field, double value);
void protobuf_text(struct protobuf *w, int field, const char *text);
void protobuf_message(struct protobuf *w, int field, struct protobuf *inner);

/* Appends the beginning of a field of `size` bytes, which the caller appends or writes next.
 * protobuf_append() appends the fields of `other`, frees it, and takes over its failure. */
void protobuf_begin(struct protobuf *w, int field, size_t size);
void protobuf_append(struct protobuf *w, struct protobuf *other);

#endif
