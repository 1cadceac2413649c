/* sequence: a data set whose format can only read it from one end to the other.
 *
 * The samples are held in memory if their bytes fit into the budget, and are indexed then. If they
 * do not fit, the set is a stream: one that can be read again is read once to count its images and
 * to settle its layout; of one that comes only once nothing is known beforehand, and the samples
 * that were read before the budget was exceeded are its first ones. */
#ifndef SEQUENCE_H
#define SEQUENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "data/dataset_format.h"

/* Reads a set whose format has opened it in sequence; sets set->sequence, and the set's count and
 * classes. Returns -1 with a message. sequence_close() in any case. */
int sequence_open(struct dataset *set, const struct dataset_options *options);
void sequence_close(struct dataset *set); /* fine for an indexed set, too */

bool sequence_is_stream(const struct sequence *q);
int64_t sequence_bytes(const struct sequence *q); /* bytes of the samples that are held */

/* For samples that are held: as dataset_get(), dataset_label() and dataset_image_name(). */
void sequence_get(const struct sequence *q, int64_t i, struct sample *s);
int64_t sequence_label(const struct sequence *q, int64_t i);
const char *sequence_image_name(const struct dataset *set, int64_t i);

/* The next sample of a stream that belongs to the split: as dataset_next(). */
enum dataset_result sequence_next(struct dataset *set, struct sample *s);

#endif
