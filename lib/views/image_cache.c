#include "views/image_cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "data/image.h"

struct kept {
    int64_t label;
    int width, height;
    uint8_t pixels[];
};

struct image_cache {
    int64_t count;
    atomic_llong left; /* bytes of the budget */
    _Atomic(struct kept *) images[];
};

struct image_cache *image_cache_new(int64_t count, int64_t budget)
{
    struct image_cache *k = calloc(1, sizeof *k + (size_t)count * sizeof k->images[0]);
    if (!k) {
        return fail_null("out of memory for %lld images", (long long)count);
    }
    k->count = count;
    atomic_store(&k->left, budget);
    return k;
}

void image_cache_free(struct image_cache *k)
{
    for (int64_t i = 0; k && i < k->count; i++)
        free(atomic_load(&k->images[i]));
    free(k);
}

bool image_cache_get(const struct image_cache *k, int64_t i, struct scaled_image *image,
                     int64_t *label)
{
    const struct kept *kept = atomic_load_explicit(&k->images[i], memory_order_acquire);
    if (!kept)
        return false;
    *image = (struct scaled_image){kept->pixels, kept->width, kept->height, 1};
    *label = kept->label;
    return true;
}

void image_cache_put(struct image_cache *k, int64_t i, const struct scaled_image *image,
                     int64_t label)
{
    const size_t bytes = 3 * (size_t)image->width * (size_t)image->height;
    const long long need = (long long)(sizeof(struct kept) + bytes);
    if (atomic_fetch_sub(&k->left, need) < need) {
        atomic_fetch_add(&k->left, need);
        return;
    }
    struct kept *kept = malloc((size_t)need), *none = NULL;
    if (kept) {
        kept->label = label;
        kept->width = image->width;
        kept->height = image->height;
        memcpy(kept->pixels, image->pixels, bytes);
        if (atomic_compare_exchange_strong(&k->images[i], &none, kept))
            return;
        free(kept); /* another thread had the same image in a replaced row */
    }
    atomic_fetch_add(&k->left, need);
}
