/* frame_shards: the frames that commands deliver, one shard after the other. If a command or its
 * output breaks off, the command is run again, as often as its retries allow; frames that have been
 * read are then skipped, after a check that their tensors are the same as before. */
#ifndef FRAME_SHARDS_H
#define FRAME_SHARDS_H

#include <stdbool.h>

#include "data/shards.h"
#include "frame/frame.h"
#include "link/stream.h"

struct frame_shards;

/* Both arguments must stay valid. Returns NULL with a message on failure. */
struct frame_shards *frame_shards_new(struct shards *shards, const struct link_config *links);
void frame_shards_free(struct frame_shards *f); /* NULL is fine */

/* Gets the next frame, as source_next() does. A shard must end with an end frame, and its command
 * with status 0. */
enum source_result frame_shards_next(struct frame_shards *f, struct frame **out);
/* Returns true if the last frame was the first of its shard. */
bool frame_shards_at_first(const struct frame_shards *f);
/* Begins again with the first shard. */
void frame_shards_rewind(struct frame_shards *f);
/* Returns the name of the present shard, which is valid as long as the shards. */
const char *frame_shards_name(const struct frame_shards *f);

#endif
