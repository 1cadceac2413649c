/* read_errors: images and labels that could not be read: the first few are named on stderr, all are
 * counted, and too many of them end the run.
 *
 * One image of a set, or a hundredth of them, may be unreadable; more are too many. An image that
 * fails again in a later epoch is neither counted nor named again.
 *
 * The same rule holds for labels, which are counted apart. An image whose label is there and cannot
 * be read is left out: otherwise it would be taken for one without a label, or for one of the class
 * that its folder names. */
#ifndef READ_ERRORS_H
#define READ_ERRORS_H

#include <stdbool.h>
#include <stdint.h>

struct read_errors;

/* With `stop` the first error ends the run. Returns NULL with a message if memory is out. */
struct read_errors *read_errors_new(bool stop);
void read_errors_free(struct read_errors *e); /* NULL is fine */

/* Adds image `index`, which could not be read for the reason in fail_message(). `images` is how
 * many the set has; of a stream, how many were read. Returns 0 if the run is to go on without the
 * image, and -1 with a message if it must end. Several threads may call this at once. */
int read_errors_add_image(struct read_errors *e, int64_t index, int64_t images);

/* Adds a label that could not be read for the reason in fail_message(), which names its file.
 * `before` is how many such labels came before it in this pass over the set: those of an earlier
 * pass are not named again. Returns 0 if the image is to be left out, and -1 with a message if the
 * run must end. */
int read_errors_add_label(struct read_errors *e, int64_t before);
/* Checks the number of label errors against `images`, the number of images with those that were
 * left out. Call it when that number is known: after a pass over a set, or after each error in a
 * stream that comes once. Returns -1 with a message that names the last error if they are too
 * many. */
int read_errors_check_labels(struct read_errors *e, int64_t images);

/* Reports an archive that breaks off for the reason in fail_message(); it is not counted. Returns 0
 * if the run is to go on with what is whole, and -1 if it must end, or was asked to stop. */
int read_errors_add_archive(struct read_errors *e);

/* How many images could not be read, and how many labels. */
int64_t read_errors_image_count(const struct read_errors *e);
int64_t read_errors_label_count(const struct read_errors *e);

#endif
