/* tar_reader: finds the images in a list of archives, one after the other.
 *
 * Labels are in KEY.cls beside KEY.jpg (or .jpeg, .png), in digits. The label of an image is known
 * only when its key ends, so an image is returned after the last entry of its key. */
#ifndef TAR_READER_H
#define TAR_READER_H

#include <stdint.h>

#include "data/dataset.h"
#include "data/sample.h"
#include "data/shards.h"

struct tar_reader;

/* An image that was found, or a link that may lead to one. */
struct tar_found {
    struct sample sample; /* its text is the path */
    int64_t offset;       /* of its bytes in the file; -1: in the sample, or a link */
    int64_t archive;      /* number of its archive */
};

/* Make a reader of files ("-": stdin), or of the archives that commands deliver. It adds to the
 * set's layout and to what it counts: ignored files and labels that cannot be read. The arguments
 * must stay valid. Return NULL with a message if memory is out. */
struct tar_reader *tar_reader_of_files(struct dataset *set, const char *const *paths, int64_t n);
struct tar_reader *tar_reader_of_shards(struct dataset *set, struct shards *shards);
void tar_reader_free(struct tar_reader *t); /* NULL is fine */

/* Finds the next image or link. *f is {0} at first, and can be used for one after the other. A file
 * that is truncated is passed over from there on if dataset_archive_broken() says so; a command
 * whose archive breaks off is a failure. */
enum dataset_result tar_reader_next(struct tar_reader *t, struct tar_found *f);
/* Begins again with the first archive. */
void tar_reader_rewind(struct tar_reader *t);

#endif
