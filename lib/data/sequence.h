/* sequence: a data set whose format can only be read from one end to the other.
 *
 * If the bytes of the samples fit into the budget, they are held in memory, and the set is indexed.
 * Otherwise the set is a stream. A stream that can be read again is read once to count its images
 * and to settle its layout. For a stream that comes only once, or whose number of images is given,
 * nothing else is known beforehand; its first samples are those that were read before the budget
 * was exceeded. */
#ifndef SEQUENCE_H
#define SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "data/dataset_format.h"

/* Reads a set whose format has opened it in sequence. Sets set->sequence, and the set's count and
 * classes. Returns -1 with a message on failure. The caller calls sequence_close() in any case. */
int sequence_open(struct dataset *set, const struct dataset_options *options);
void sequence_close(struct dataset *set); /* fine for an indexed set, too */

bool sequence_is_stream(const struct sequence *q);
/* Returns true if it is a stream whose number of images is that of the options. */
bool sequence_count_is_given(const struct sequence *q);
/* Drops what is left of the samples that were read when a stream was opened. */
void sequence_rewind(struct dataset *set);
int64_t sequence_bytes(const struct sequence *q); /* bytes of the samples that are held */

/* These do the work of dataset_get(), dataset_label() and dataset_image_name() for samples that are
 * held in memory. */
void sequence_get(const struct sequence *q, int64_t i, struct sample *s);
int64_t sequence_label(const struct sequence *q, int64_t i);
const char *sequence_image_name(const struct dataset *set, int64_t i);

/* Gets the next sample of a stream that belongs to the split, as dataset_next() does. */
enum dataset_result sequence_next(struct dataset *set, struct sample *s);

#endif
