/* keep: decoded images that stay in memory, the first ones that fit; for a set that is read epoch
 * after epoch nothing is gained by making room for others. */
#ifndef KEEP_H
#define KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "image.h"

struct keep;

/* For images 0..count-1, of together `budget` bytes. NULL with a message: memory is out. */
struct keep *keep_new(int64_t count, int64_t budget);
void keep_free(struct keep *k); /* NULL is fine */

/* Points image at the kept pixels, which are there at full size and stay as long as k does. False:
 * it is not kept. Several threads may use keep_get() and keep_put() at once. */
bool keep_get(const struct keep *k, int64_t i, struct scaled_image *image, int64_t *label);
/* Keeps a copy, if there is room and memory. */
void keep_put(struct keep *k, int64_t i, const struct scaled_image *image, int64_t label);

#endif
