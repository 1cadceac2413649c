/* image_cache: decoded images that stay in memory, the first ones that fit; for a set that is read
 * epoch after epoch nothing is gained by making room for others. */
#ifndef IMAGE_CACHE_H
#define IMAGE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "data/image.h"

struct image_cache;

/* For images 0..count-1, of together `budget` bytes. NULL with a message: memory is out. */
struct image_cache *image_cache_new(int64_t count, int64_t budget);
void image_cache_free(struct image_cache *k); /* NULL is fine */

/* Points image at the kept pixels, which are there at full size and stay as long as k does. False:
 * it is not kept. Several threads may use image_cache_get() and image_cache_put() at once. */
bool image_cache_get(const struct image_cache *k, int64_t i, struct scaled_image *image,
                     int64_t *label);
/* Keeps a copy, if there is room and memory. */
void image_cache_put(struct image_cache *k, int64_t i, const struct scaled_image *image,
                     int64_t label);

#endif
