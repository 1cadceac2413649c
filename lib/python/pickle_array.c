#include "python/pickle_array.h"

#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

/* numpy 2 renamed numpy.core to numpy._core. */
static bool is_numpy_call(const struct pickle_value *v, const char *old, const char *now,
                          const char *name)
{
    return pickle_is_call(v, old, name) || pickle_is_call(v, now, name);
}

static const struct pickle_value *item(const struct pickle_value *tuple, uint32_t i)
{
    return tuple && tuple->kind == PICKLE_TUPLE && i < tuple->list.n ? tuple->list.items[i] : NULL;
}

/* Reads dtype("u1") and the like. Returns false if the values are no integers, or big-endian. */
static bool read_type(const struct pickle_value *v, struct pickle_array *a)
{
    static const struct {
        const char *name;
        size_t size;
        bool has_sign;
    } types[] = {{"u1", 1, false}, {"i1", 1, true}, {"u2", 2, false}, {"i2", 2, true},
                 {"u4", 4, false}, {"i4", 4, true}, {"u8", 8, false}, {"i8", 8, true}};
    if (!pickle_is_call(v, "numpy", "dtype"))
        return false;
    const struct pickle_value *name = pickle_argument(v, 0), *order = item(v->call.state, 1);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (pickle_is_text(name, types[i].name)) {
            a->size = types[i].size;
            a->has_sign = types[i].has_sign;
            return a->size == 1 || pickle_is_text(order, "<");
        }
    return false;
}

/* Turns text whose characters are bytes into these. Returns -1 without a message. */
static int decode_latin1(const uint8_t *from, size_t n, uint8_t *to, size_t *written)
{
    *written = 0;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = from[i];
        if (c >= 0x80) { /* only U+0080 to U+00FF, which have two bytes */
            if ((c & 0xfe) != 0xc2 || i + 1 == n || (from[i + 1] & 0xc0) != 0x80)
                return -1;
            c = (uint8_t)(c << 6 | (from[++i] & 0x3f));
        }
        to[(*written)++] = c;
    }
    return 0;
}

/* Finds the bytes of an array. In protocols 0 to 2, Python 3 writes them as text, which
 * _codecs.encode() turns into bytes. Returns -1 with a message. */
static int read_bytes(const struct pickle_value *v, const char *where, struct pickle_array *a,
                      size_t *n)
{
    if (v && v->kind == PICKLE_BYTES) {
        a->values = v->bytes.start;
        *n = v->bytes.n;
        return 0;
    }
    const struct pickle_value *text =
        pickle_is_call(v, "_codecs", "encode") && pickle_is_text(pickle_argument(v, 1), "latin1")
            ? pickle_argument(v, 0)
            : NULL;
    if (!text || text->kind != PICKLE_TEXT)
        return fail("%s: an array of numpy without bytes", where);
    a->values = a->own = malloc(text->bytes.n + 1);
    if (!a->own)
        return fail_memory(where);
    return decode_latin1(text->bytes.start, text->bytes.n, a->own, n)
               ? fail("%s: the bytes of an array of numpy are damaged", where)
               : 0;
}

static bool read_shape(const struct pickle_value *v, struct pickle_array *a)
{
    a->count = 1;
    if (!v || v->kind != PICKLE_TUPLE || v->list.n > PICKLE_ARRAY_DIMS)
        return false;
    a->ndim = (int)v->list.n;
    for (int i = 0; i < a->ndim; i++) {
        const struct pickle_value *length = v->list.items[i];
        if (length->kind != PICKLE_INTEGER || length->integer < 0 ||
            __builtin_mul_overflow(a->count, length->integer, &a->count))
            return false;
        a->shape[i] = length->integer;
    }
    return true;
}

int pickle_array_read(const struct pickle_value *v, const char *where, struct pickle_array *a)
{
    const struct pickle_value *bytes, *type, *shape;
    *a = (struct pickle_array){0};
    if (is_numpy_call(v, "numpy.core.multiarray", "numpy._core.multiarray", "_reconstruct")) {
        /* The state is (1, shape, type, is in Fortran's order, bytes). */
        const struct pickle_value *order = item(v->call.state, 3);
        shape = item(v->call.state, 1);
        type = item(v->call.state, 2);
        bytes = item(v->call.state, 4);
        a->fortran = order && (order->kind == PICKLE_BOOL || order->kind == PICKLE_INTEGER) &&
                     order->integer;
    } else if (is_numpy_call(v, "numpy.core.numeric", "numpy._core.numeric", "_frombuffer")) {
        bytes = pickle_argument(v, 0);
        type = pickle_argument(v, 1);
        shape = pickle_argument(v, 2);
        a->fortran = pickle_is_text(pickle_argument(v, 3), "F");
    } else
        return fail("%s: not an array of numpy", where);
    size_t n = 0;
    int64_t claimed;
    if (!read_type(type, a))
        return fail("%s: an array of numpy whose values are no little-endian integers", where);
    if (!read_shape(shape, a) || __builtin_mul_overflow(a->count, (int64_t)a->size, &claimed))
        return fail("%s: an array of numpy with a damaged shape", where);
    if (read_bytes(bytes, where, a, &n))
        return -1;
    return (uint64_t)claimed == n
               ? 0
               : fail("%s: an array of numpy of %zu bytes, whose shape means %lld", where, n,
                      (long long)claimed);
}

void pickle_array_free(struct pickle_array *a)
{
    free(a->own);
    *a = (struct pickle_array){0};
}

int64_t pickle_array_value(const struct pickle_array *a, int64_t i)
{
    const uint8_t *from = a->values + (size_t)i * a->size;
    uint64_t value = 0;
    for (size_t b = 0; b < a->size; b++)
        value |= (uint64_t)from[b] << (8 * b);
    if (a->has_sign && a->size < 8 && from[a->size - 1] & 0x80)
        value |= UINT64_MAX << (8 * a->size);
    return (int64_t)value;
}

bool pickle_array_integer(const struct pickle_value *v, int64_t *value)
{
    if (v->kind == PICKLE_INTEGER) {
        *value = v->integer;
        return true;
    }
    if (!is_numpy_call(v, "numpy.core.multiarray", "numpy._core.multiarray", "scalar"))
        return false;
    struct pickle_array a = {0};
    size_t n;
    const bool good = read_type(pickle_argument(v, 0), &a) &&
                      read_bytes(pickle_argument(v, 1), "", &a, &n) == 0 && n == a.size;
    if (good)
        *value = pickle_array_value(&a, 0);
    pickle_array_free(&a);
    return good;
}
