/* progress_bar: shows the progress of a training run on stderr.
 *
 * On a terminal it is one line with a bar, which is redrawn in place at most ten times a second and
 * cut to the terminal's width. Otherwise it prints plain lines: for the first and the last frame,
 * after every 2.5 % of the steps, and whenever ten seconds or a twentieth of the elapsed time,
 * whichever is longer, have passed since the last line. */
#ifndef PROGRESS_BAR_H
#define PROGRESS_BAR_H

#include "frame/frame.h"

/* The state of a progress bar. */
struct progress_bar;

/* Makes a progress bar, which the caller frees with progress_bar_finish(). Returns NULL with a
 * message if memory is out. */
struct progress_bar *progress_bar_new(void);

/* Shows the values of a metrics frame: step, steps, steps_per_epoch, epoch, batch, loss, accuracy,
 * contrast_acc, lr and views_per_s. Each of them may be missing. Returns -1 with a message if one
 * of them is not a number. */
int progress_bar_update(struct progress_bar *b, const struct frame *f);

/* Ends the line on a terminal, so that other text can follow. The next update begins a new line. */
void progress_bar_break(struct progress_bar *b);

/* Shows the last frame, unless it has already been shown, ends the line, and frees b, which may be
 * NULL. */
void progress_bar_finish(struct progress_bar *b);

#endif
