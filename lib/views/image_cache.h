/* image_cache: keeps decoded images in memory, namely the first ones that fit. Replacing them by
 * others would gain nothing, since each epoch reads all of a set. */
#ifndef IMAGE_CACHE_H
#define IMAGE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "data/image.h"

struct image_cache;

/* Returns a cache for images 0..count-1, which takes at most `budget` bytes. Returns NULL with a
 * message if memory is out. */
struct image_cache *image_cache_new(int64_t count, int64_t budget);
void image_cache_free(struct image_cache *cache); /* NULL is fine */

/* Points image at the pixels of image i at full size, which stay valid as long as the cache, and
 * sets its label. Returns false if the cache does not have the image. Several threads may call
 * image_cache_get() and image_cache_put() at once. */
bool image_cache_get(const struct image_cache *cache, int64_t i, struct scaled_image *image,
                     int64_t *label);

/* Stores a copy of image i, which is at full size, if the budget and memory allow it. */
void image_cache_put(struct image_cache *cache, int64_t i, const struct scaled_image *image,
                     int64_t label);

#endif
