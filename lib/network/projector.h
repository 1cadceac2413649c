/* projector: the description of a projection head, from which it can be built again.
 *
 * As a text, it is the metadata `projector` of joins, states and models:
 *
 *   layers=2 hidden=512 dim=128 */
#ifndef PROJECTOR_H
#define PROJECTOR_H

#include <stdint.h>

enum { PROJECTOR_TEXT = 96 }; /* bytes of a description, with the 0 at its end */

struct projector {
    int64_t layers; /* linear maps, from 1 on */
    int64_t hidden; /* width of the hidden layers; 0 with one layer, which has none */
    int64_t dim;    /* width of the output */
};

/* Write and read the text. projector_parse() returns -1 with a message if the text is not of this
 * form, or a number is out of range. */
void projector_print(const struct projector *p, char text[PROJECTOR_TEXT]);
int projector_parse(const char *text, struct projector *p);

#endif
