/* skips: what could not be read and was passed over, told on stderr, and when it is too much.
 *
 * Of the images of a set, one or a hundredth may be unreadable. The first few are named, and all
 * are counted; an image that fails again in a later epoch is not told again.
 *
 * The same holds for labels, which are counted apart: an image whose label is there and cannot be
 * read is left out, since it would otherwise be taken for one without a label, or for one of the
 * class that its folder names. */
#ifndef SKIPS_H
#define SKIPS_H

#include <stdbool.h>
#include <stdint.h>

struct read_errors;

/* With `stop` nothing is passed over. NULL: memory is out. */
struct read_errors *read_errors_new(bool stop);
void read_errors_free(struct read_errors *s); /* NULL is fine */

/* Image `index` of `images` (as many as were read, of a stream) could not be read for the reason in
 * fail_message(). 0: go on without it; -1 with a message: the program has to stop. Several threads
 * may call this at once. */
int read_errors_add_image(struct read_errors *s, int64_t index, int64_t images);

/* The label of an image could not be read for the reason in fail_message(), which names the label's
 * place. `before` is how many such images came before it in this pass over the set: in a later pass
 * it is not told again. 0: leave the image out and go on; -1 with a message: the program has to
 * stop. */
int read_errors_add_label(struct read_errors *s, int64_t before);
/* To be called where it is known of how many images the label defects are, the images that were
 * left out among them: after a pass over a set, or after each defect in a stream that comes once.
 * -1 with a message that names the last defect: they are too many. */
int read_errors_check_labels(struct read_errors *s, int64_t images);

/* An archive breaks off for the reason in fail_message(): told, but not counted. 0 or -1 as above.
 * -1 as well where a stop was requested. */
int read_errors_add_archive(struct read_errors *s);
/* Images that were passed over, and images that were left out because of their labels. */
int64_t read_errors_image_count(const struct read_errors *s);
int64_t read_errors_label_count(const struct read_errors *s);

#endif
