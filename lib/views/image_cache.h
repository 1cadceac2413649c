/* image_cache: decoded images that stay in memory: the first ones that fit. Making room for others
 * would gain nothing, since a set is read as a whole in each epoch. */
#ifndef IMAGE_CACHE_H
#define IMAGE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "data/image.h"

struct image_cache;

/* A cache for images 0..count-1, of together `budget` bytes at most. NULL with a message if memory
 * is out. */
struct image_cache *image_cache_new(int64_t count, int64_t budget);
void image_cache_free(struct image_cache *cache); /* NULL is fine */

/* Points image at the pixels of image i, at full size, which stay as long as the cache does, and
 * sets its label. Returns false if the cache does not have it. Several threads may call
 * image_cache_get() and image_cache_put() at once. */
bool image_cache_get(const struct image_cache *cache, int64_t i, struct scaled_image *image,
                     int64_t *label);

/* Keeps a copy of image i, which is at full size, if there are room and memory. */
void image_cache_put(struct image_cache *cache, int64_t i, const struct scaled_image *image,
                     int64_t label);

#endif
