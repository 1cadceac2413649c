/* watch: sees from the metrics of a training run that nothing is being learned.
 *
 * It looks for two things, in windows of frames, so that it warns only of what lasts:
 *
 *   collapse  z_std (base/spread.h) is under 0.05 in each of the last 100 frames.
 *   chance    The means of the last 100 losses, and of the 100 before them, are both within 1 % of
 *             ln(2 batch - 1), the value of NT-Xent if all candidates are equally similar. Frames
 *             with `accuracy` do not count: their loss is a classifier's.
 *
 * A collapse takes tens of steps and is then seen within the first 200. Single losses scatter, more
 * so in small batches, so their means are compared; there are two of them so that a loss that only
 * passes through this value does not count. A frame without the value empties its window, and a
 * step that is not after the last one empties both: a window never spans two runs. A resumed run
 * begins with empty windows, whatever its log holds. */
#ifndef WATCH_H
#define WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"

enum {
    WATCH_COLLAPSED = 100, /* frames of the window for z_std */
    WATCH_HALF = 100,      /* frames of half the window for the loss */
};

/* The state of a watch; it starts as {0}. */
struct watch {
    int64_t steps;                 /* that the run has made; 0 if its frames do not say */
    bool warned;                   /* the warning was given */
    int64_t collapsed;             /* frames in a row with a low z_std */
    int64_t losses;                /* frames in a row with a loss */
    double recent[2 * WATCH_HALF]; /* the last losses, in a ring */
};

/* Takes the metrics of a frame: step, batch, loss, accuracy and z_std, each of which may be
 * missing. Sets *warning to "" or, once in the life of a watch, to a line that says what was seen
 * and what to try; `room` is the size of its buffer, for which WATCH_LINE is enough. Returns -1
 * with a message if one of the values is not a number. */
int watch_update(struct watch *w, const struct frame *f, char *warning, size_t room);
enum { WATCH_LINE = 512 };

#endif
