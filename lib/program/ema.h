/* ema: how joins, their answers and states speak of slow copies (optimizer/slow_copy.h).
 *
 *   metadata `ema` of a join           the momentum of this client's slow copies; none: it has none
 *   tensor `ema/NAME` of the answer    NAME's slow copy
 *   tensor `ema/NAME` of a state       the same
 *   metadata `ema/PART` of a state     the momentum of PART's copies, where PART is the first word
 *                                      of a name: "layer1" of layer1.0.conv1.weight
 *
 * A momentum is at least 0 and less than 1. It is printed so that it reads back exactly. */
#ifndef EMA_H
#define EMA_H

#include "frame/frame.h"

#define EMA_NONE (-1.0) /* stands for the momentum of a parameter without a slow copy */

enum { EMA_TEXT = 512 }; /* bytes of a name or key, with the 0 at its end */

/* Writes the name of a parameter's slow copy: ema/NAME. */
void ema_name(char text[EMA_TEXT], const char *parameter);

/* Write a momentum into the metadata: of a join, and of a state for a parameter's part. */
void ema_set(struct frame *join, double momentum);
void ema_set_part(struct frame *state, const char *parameter, double momentum);

/* Read it. *momentum becomes EMA_NONE if there is none. Return -1 with a message if the value is no
 * momentum. */
int ema_get(const struct frame *join, double *momentum);
int ema_get_part(const struct frame *state, const char *parameter, double *momentum);

/* Writes a momentum for a message: "0.99", or "none". */
void ema_print(char text[32], double momentum);

#endif
