/* pictures: the fuzzing of one format of image files. */
#ifndef PICTURES_H
#define PICTURES_H

#include <stddef.h>
#include <stdint.h>

/* Decodes the file as RGB and with its own channels, at full size and at the reduced sizes that a
 * JPEG has, turned or not. Pictures of more than `most` values are only begun. */
void pictures_decode(const uint8_t *bytes, size_t size, int64_t most);

#endif
