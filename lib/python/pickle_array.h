/* pickle_array: arrays and scalars of numpy in a pickle (pickle.h). */
#ifndef PICKLE_ARRAY_H
#define PICKLE_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/pickle.h"

enum { PICKLE_ARRAY_DIMS = 4 };

/* An array of integers. */
struct pickle_array {
    size_t size; /* bytes of a value: 1, 2, 4 or 8 */
    bool has_sign;
    int ndim;
    int64_t shape[PICKLE_ARRAY_DIMS];
    bool fortran; /* the first index varies fastest in memory, and not the last */
    int64_t count;
    const uint8_t *values; /* little-endian; in the pickle's bytes or in `own` */
    uint8_t *own;          /* NULL: none */
};

/* Reads an array of integers, as numpy.ndarray.__reduce__() and __reduce_ex__(5) write it. Returns
 * -1 with a message that begins with `where` if v is another value, has other types, or if its
 * bytes do not fit to its shape. The caller calls pickle_array_free() in any case. */
int pickle_array_read(const struct pickle_value *v, const char *where, struct pickle_array *a);
void pickle_array_free(struct pickle_array *a); /* leaves {0} */

/* Returns value number i in memory, 0 <= i < count. */
int64_t pickle_array_value(const struct pickle_array *a, int64_t i);

/* Reads an integer, which may be one of numpy's. Returns false if v is another value. */
bool pickle_array_integer(const struct pickle_value *v, int64_t *value);

#endif
