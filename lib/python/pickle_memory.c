#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "python/pickle_parts.h"

enum { SMALLEST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20, ALIGNMENT = 16 };

struct pickle_block {
    struct pickle_block *older;
    size_t size; /* bytes of `memory` */
    _Alignas(ALIGNMENT) unsigned char memory[];
};

/* Counts bytes that are about to be allocated. */
static int count_bytes(struct pickle *p, size_t bytes)
{
    if (bytes > PICKLE_MAX_MEMORY - p->memory)
        return pickle_fail(p, "values of more than %d MiB", PICKLE_MAX_MEMORY >> 20);
    p->memory += bytes;
    return 0;
}

void *pickle_take(struct pickle *p, size_t bytes)
{
    if (bytes > PICKLE_MAX_MEMORY) {
        count_bytes(p, bytes);
        return NULL;
    }
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (bytes > p->free_bytes) {
        size_t size = p->memory / 4;
        size = size < SMALLEST_BLOCK ? SMALLEST_BLOCK : size > LARGEST_BLOCK ? LARGEST_BLOCK : size;
        size = (bytes > size ? bytes : size) / ALIGNMENT * ALIGNMENT;
        if (count_bytes(p, sizeof(struct pickle_block) + size))
            return NULL;
        struct pickle_block *block = malloc(sizeof *block + size);
        if (!block) {
            fail_memory(p->where);
            return NULL;
        }
        block->older = p->blocks;
        block->size = p->free_bytes = size;
        p->blocks = block;
    }
    void *memory = p->blocks->memory + (p->blocks->size - p->free_bytes);
    p->free_bytes -= bytes;
    return memory;
}

int pickle_reserve(struct pickle *p, void *array, size_t *capacity, size_t need, size_t item)
{
    if (need <= *capacity)
        return 0;
    size_t larger = 2 * *capacity > need ? 2 * *capacity : need;
    larger = larger < 64 ? 64 : larger;
    if (larger > PICKLE_MAX_MEMORY || count_bytes(p, (larger - *capacity) * item))
        return pickle_fail(p, "values of more than %d MiB", PICKLE_MAX_MEMORY >> 20);
    void **place = array;
    void *grown = realloc(*place, larger * item);
    if (!grown)
        return fail_memory(p->where);
    memset((char *)grown + *capacity * item, 0, (larger - *capacity) * item);
    *place = grown;
    *capacity = larger;
    return 0;
}

int pickle_extend(struct pickle *p, struct pickle_value *v, struct pickle_value *const *items,
                  size_t n)
{
    const size_t total = v->list.n + n;
    if (total > v->list.capacity) {
        size_t capacity = 2 * (size_t)v->list.capacity;
        capacity = capacity < total ? total : capacity;
        struct pickle_value **larger = pickle_take(p, capacity * sizeof(struct pickle_value *));
        if (!larger)
            return -1;
        if (v->list.n)
            memcpy(larger, v->list.items, v->list.n * sizeof *larger);
        v->list.items = larger;
        v->list.capacity = (uint32_t)capacity;
    }
    if (n)
        memcpy(v->list.items + v->list.n, items, n * sizeof *items);
    v->list.n = (uint32_t)total;
    return 0;
}

void pickle_free_memory(struct pickle *p)
{
    while (p->blocks) {
        struct pickle_block *block = p->blocks;
        p->blocks = block->older;
        free(block);
    }
    free(p->stack.items);
    free(p->memo.items);
    free(p->persistents.items);
    free(p->marks);
}
