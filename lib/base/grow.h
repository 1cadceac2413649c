/* grow: arrays that grow by one item at a time. */
#ifndef GROW_H
#define GROW_H

#include <stdint.h>
#include <stdlib.h>

/* Makes room for at least n + 1 items of `size` bytes: doubles the array if it is full, and sets
 * *capacity. Returns the array, which may have moved. Returns NULL without a message if memory is
 * out; the array is then unchanged. */
static inline void *grow(void *items, int64_t n, int64_t *capacity, size_t size)
{
    if (n < *capacity)
        return items;
    const int64_t larger = *capacity ? 2 * *capacity : 64;
    void *grown = reallocarray(items, (size_t)larger, size);
    if (grown)
        *capacity = larger;
    return grown;
}

#endif
