/* skips: what could not be read and was passed over, told on stderr, and when it is too much.
 *
 * Of the images of a set, one or a hundredth may be unreadable. The first few are named, and all
 * are counted; an image that fails again in a later epoch is not told again. */
#ifndef SKIPS_H
#define SKIPS_H

#include <stdbool.h>
#include <stdint.h>

struct skips;

/* With `stop` nothing is passed over. NULL: memory is out. */
struct skips *skips_new(bool stop);
void skips_free(struct skips *s); /* NULL is fine */

/* Image `index` of `images` (as many as were read, of a stream) could not be read for the reason in
 * fail_message(). 0: go on without it; -1 with a message: the program has to stop. Several threads
 * may call this at once. */
int skips_image(struct skips *s, int64_t index, int64_t images);
/* The same of what is no image: an archive that breaks off. Told, but not counted.
 * -1 as well where a stop was requested. */
int skips_archive(struct skips *s);
/* Images that were passed over. */
int64_t skips_count(const struct skips *s);

#endif
