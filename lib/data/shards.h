/* shards: a data set that commands deliver, one command for each shard:
 *
 *   exec:curl -sf https://host/train-{000..146}.tar
 *
 * `pipe:`, WebDataset's word, means the same. Braces are expanded as in lists of files
 * (brace_expand.h), also within quotes; "\{" is a brace of the command itself. Each command's
 * stdout is an archive (tar.h) or a stream of frames; the first bytes of the first shard decide
 * which, and all shards are of that kind. */
#ifndef SHARDS_H
#define SHARDS_H

#include <stdbool.h>
#include <stdint.h>

#include "data/command.h"

struct shards;

enum shards_kind { SHARDS_ARCHIVES, SHARDS_FRAMES };

/* Returns true if the path stands for commands. A path that exists is a file, and a list of
 * endpoints (endpoint.h) is none of these. */
bool shards_match(const char *path);

/* Expands the braces. `links` must stay valid. Returns NULL with a message on failure. */
struct shards *shards_open(const char *path, const struct link_config *links, int64_t retries);
void shards_close(struct shards *s); /* NULL is fine; a command that still runs is ended */

int64_t shards_count(const struct shards *s);
/* Returns the name of a shard for messages: its command, which is shortened if it is long. Equal
 * commands have names of their own. */
const char *shards_name(const struct shards *s, int64_t i);

/* Starts the first command, if needed several times, to find out what the shards are. Returns -1
 * with a message if it delivers nothing. */
int shards_recognize(struct shards *s, enum shards_kind *kind);

/* Returns the command of a shard, which has just been started; for the first shard, that which
 * shards_recognize() started. The caller ends it. Returns NULL with a message on failure. */
struct command *shards_begin(struct shards *s, int64_t i);

#endif
