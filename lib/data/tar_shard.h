/* tar_shard: the entries of one archive of a list, which is a file or the output of a command. If
 * the command or its output breaks off, it is run again, as often as its retries allow; entries
 * that have been read are then skipped, so the caller sees one whole archive. */
#ifndef TAR_SHARD_H
#define TAR_SHARD_H

#include <stdint.h>

#include "data/command.h"
#include "data/tar.h"

struct tar_shard;

/* Opens a file, as tar_open() does. Returns NULL with a message on failure. */
struct tar_shard *tar_shard_open(const char *path);
/* Reads the output of a command that has just been started, and takes the command over also on
 * failure. Returns NULL with a message on failure. */
struct tar_shard *tar_shard_open_command(struct command *c, const char *name);
void tar_shard_close(struct tar_shard *s); /* NULL is fine; a command that still runs is ended */

/* Do the work of tar_next() and tar_read(). Read all bytes of an entry at once. The entry's texts
 * become invalid when its bytes are read.
 *
 * With retries left, a failure of a command ends the shard only if what is read again is not what
 * was read before: a CRC-32 of the names, sizes and contents of the entries must agree. */
enum tar_result tar_shard_next(struct tar_shard *s, struct tar_entry *e);
int tar_shard_read(struct tar_shard *s, void *out, int64_t size);

#endif
