/* winograd_memory: the tiles of a batch, and the memory of transformed tiles. */
#ifndef WINOGRAD_MEMORY_H
#define WINOGRAD_MEMORY_H

#include "base/arena.h"
#include "base/count.h"
#include "engine/winograd_transform.h"

/* Returns the number of tiles of a grain. */
static inline int64_t winograd_grain_tiles(const struct winograd_shape *s)
{
    return s->images / s->grains * count_divide_up(s->h, WINOGRAD_TILE) *
           count_divide_up(s->w, WINOGRAD_TILE);
}

/* Returns the floats from one position to the next, if each has `data` floats. They are a cache line
 * more than the data, because otherwise 36 streams of stores would fall into the same few sets of a
 * cache. */
static inline int64_t winograd_position_floats(int64_t data)
{
    return data + ARENA_ALIGNMENT / (int64_t)sizeof(float);
}

/* A block of memory while its parts are placed. */
struct winograd_layout {
    unsigned char *memory; /* NULL: the caller only needs the size */
    struct arena arena;
};

static inline void *winograd_reserve(struct winograd_layout *l, int64_t count, size_t size)
{
    const size_t at = arena_reserve(&l->arena, (size_t)count, size);
    return l->memory ? l->memory + at : NULL;
}

/* Places tiles of `channels` channels, in groups of `columns`. */
static inline struct winograd_planes
winograd_reserve_planes(struct winograd_layout *l, int64_t rows, int64_t channels, int64_t columns)
{
    struct winograd_planes p = {
        .rows = rows, .columns = columns, .channels = count_round_up(channels, columns)};
    p.position = winograd_position_floats(rows * p.channels);
    p.first = winograd_reserve(l, WINOGRAD_POSITIONS * p.position, sizeof *p.first);
    return p;
}

#endif
