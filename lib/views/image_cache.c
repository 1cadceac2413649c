#include "views/image_cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/image.h"

struct cached_image {
    int64_t label;
    int width, height;
    struct image_kind kind;
    _Alignas(8) uint8_t pixels[];
};

struct image_cache {
    int64_t count;
    atomic_llong left; /* bytes of the budget */
    _Atomic(struct cached_image *) images[];
};

struct image_cache *image_cache_new(int64_t count, int64_t budget)
{
    struct image_cache *cache = calloc(1, sizeof *cache + (size_t)count * sizeof cache->images[0]);
    if (!cache)
        return fail_null("out of memory for %lld images", (long long)count);
    cache->count = count;
    atomic_store(&cache->left, budget);
    return cache;
}

void image_cache_free(struct image_cache *cache)
{
    for (int64_t i = 0; cache && i < cache->count; i++)
        free(atomic_load(&cache->images[i]));
    free(cache);
}

bool image_cache_get(const struct image_cache *cache, int64_t i, struct scaled_image *image,
                     int64_t *label)
{
    const struct cached_image *cached =
        atomic_load_explicit(&cache->images[i], memory_order_acquire);
    if (!cached)
        return false;
    *image = (struct scaled_image){cached->pixels, cached->width, cached->height, 1, cached->kind};
    *label = cached->label;
    return true;
}

void image_cache_put(struct image_cache *cache, int64_t i, const struct scaled_image *image,
                     int64_t label)
{
    const size_t bytes =
        image_pixel_bytes(image->kind) * (size_t)image->width * (size_t)image->height;
    const long long need = (long long)(sizeof(struct cached_image) + bytes);
    if (atomic_fetch_sub(&cache->left, need) < need) {
        atomic_fetch_add(&cache->left, need);
        return;
    }
    struct cached_image *copy = malloc((size_t)need), *none = NULL;
    if (copy) {
        copy->label = label;
        copy->width = image->width;
        copy->height = image->height;
        copy->kind = image->kind;
        memcpy(copy->pixels, image->pixels, bytes);
        if (atomic_compare_exchange_strong(&cache->images[i], &none, copy))
            return;
        free(copy); /* another thread stored it first, in place of its own image */
    }
    atomic_fetch_add(&cache->left, need);
}
