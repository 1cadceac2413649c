/* bar: how far a training run is, on stderr. On a terminal one line with a bar, redrawn in place at
 * most ten times a second and cut to the terminal's width; elsewhere a plain line now and then: the
 * first and last frame, every 2.5 percent of the steps, and after every ten seconds or twentieth of
 * the time that went by, whichever is longer. */
#ifndef BAR_H
#define BAR_H

#include <stdbool.h>

#include "frame/frame.h"

struct bar;

/* NULL: out of memory. */
struct bar *bar_new(void);

/* Takes in a metrics frame (step, steps, steps_per_epoch, epoch, batch, loss, contrast_acc, lr,
 * views_per_s; all may be missing). -1 with a message if one of them is no number.
 *
 * *stuck becomes true once, when nothing seems to be learned: from the 300th frame on, the mean of
 * the last 100 losses lies within 1 percent of ln(2 batch - 1), what NT-Xent is when all
 * candidates look alike. */
int bar_update(struct bar *b, const struct frame *f, bool *stuck);

/* Ends the line on a terminal, so that other text can follow. Until the next update. */
void bar_break(struct bar *b);

/* Shows the last frame, if it has not been, and ends the line. Frees; NULL is fine. */
void bar_finish(struct bar *b);

#endif
