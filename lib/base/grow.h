/* grow: arrays that become longer one item at a time. */
#ifndef GROW_H
#define GROW_H

#include <stdint.h>
#include <stdlib.h>

/* The array, moved or not, with room for at least n + 1 items of `size` bytes; it doubles, and
 * *capacity follows. NULL: memory is out, and the array is as it was. */
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
