/* arena: where the parts of one block of memory begin, found before the block is allocated.
 *
 *   struct arena a = {0};
 *   const size_t rows = arena_reserve(&a, n, sizeof(float));
 *   const size_t sums = arena_reserve(&a, 2 * c, sizeof(double));
 *   unsigned char *memory = arena_allocate(&a);
 *   if (!memory)
 *       return fail_memory(NULL);
 *   float *first = (float *)(memory + rows);
 *
 * Every part is aligned to 64 bytes, and so must be the block. A size that overflows is remembered
 * in `bytes`, so that the sum is checked once, at the end. */
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

enum { ARENA_ALIGNMENT = 64 };

/* The layout of a block of memory. Initialize it with {0}. */
struct arena {
    size_t bytes; /* size of all parts reserved so far, a multiple of 64; SIZE_MAX after overflow */
};

/* Adds a part of count items of `size` bytes each. Returns the part's offset in the block. An empty
 * part takes no room. */
static inline size_t arena_reserve(struct arena *a, size_t count, size_t size)
{
    const size_t at = a->bytes;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) ||
        __builtin_add_overflow(bytes, ARENA_ALIGNMENT - 1, &bytes) ||
        __builtin_add_overflow(at, bytes / ARENA_ALIGNMENT * ARENA_ALIGNMENT, &a->bytes))
        a->bytes = SIZE_MAX;
    return at;
}

/* Returns true if the parts together are larger than a size_t can hold. */
static inline bool arena_overflows(const struct arena *a)
{
    return a->bytes == SIZE_MAX;
}

/* Returns a block for all parts, which the caller frees with free(), or NULL without a message if
 * the size overflows or memory is out. The block's bytes are not initialized. */
static inline unsigned char *arena_allocate(const struct arena *a)
{
    if (arena_overflows(a))
        return NULL;
    return aligned_alloc(ARENA_ALIGNMENT, a->bytes ? a->bytes : ARENA_ALIGNMENT);
}

#endif
