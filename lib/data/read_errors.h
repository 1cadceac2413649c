/* read_errors: images and labels that could not be read. The first few are named on stderr, all are
 * counted, and too many of them end the run.
 *
 * One image of a set, or a hundredth of them, may be unreadable; more are too many. An image that
 * fails again in a later epoch is neither counted nor named again.
 *
 * The same rule holds for labels, which are counted separately. An image whose label exists but
 * cannot be read is left out. Otherwise it would count as an image without a label, or as one of
 * the class that its folder names. */
#ifndef READ_ERRORS_H
#define READ_ERRORS_H

#include <stdbool.h>
#include <stdint.h>

struct read_errors;

/* Returns a new list. With `stop` the first error ends the run. Returns NULL with a message if
 * memory is out. */
struct read_errors *read_errors_new(bool stop);
void read_errors_free(struct read_errors *e); /* NULL is fine */

/* Adds image `index`, which could not be read for the reason in fail_message(). `images` is the
 * number of images in the set, or for a stream, the number that were read. Returns 0 if the run
 * should go on without the image, and -1 with a message if it must end. Several threads may call
 * this at once. */
int read_errors_add_image(struct read_errors *e, int64_t index, int64_t images);

/* Adds a label that could not be read for the reason in fail_message(), which names its file.
 * `before` is the number of such labels that came before it in this pass over the set; those of an
 * earlier pass are not named again. Returns 0 if the image should be left out, and -1 with a
 * message if the run must end. */
int read_errors_add_label(struct read_errors *e, int64_t before);
/* Checks the number of label errors against `images`, the number of images including those that
 * were left out. Call it when that number is known: after a pass over a set, or after each error in
 * a stream that comes once. Returns -1 with a message that names the last error if there are too
 * many. */
int read_errors_check_labels(struct read_errors *e, int64_t images);

/* Reports a truncated archive, for the reason in fail_message(); it is not counted. Returns 0 if
 * the run should go on with the complete entries, and -1 if it must end because the caller asked to
 * stop at errors. */
int read_errors_add_archive(struct read_errors *e);

/* Return the number of images, and of labels, that could not be read. */
int64_t read_errors_image_count(const struct read_errors *e);
int64_t read_errors_label_count(const struct read_errors *e);

#endif
