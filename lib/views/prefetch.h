/* prefetch: a thread makes frames before they are needed, so that the caller need not wait for them.
 *
 * Frames come in the order in which they were made. The bytes that are made and not yet taken stay
 * within a bound: the thread begins a frame only if one as large as the largest so far still fits,
 * or if none is left to be taken. So memory holds the bound, or one frame if that is more, and the
 * frame that was taken last. */
#ifndef PREFETCH_H
#define PREFETCH_H

#include <stdatomic.h>
#include <stdint.h>

#include "frame/frame.h"

/* What making or taking the next frame comes to. */
enum prefetch_result {
    PREFETCH_FAILED = -1, /* with a message */
    PREFETCH_END,         /* there are no more frames */
    PREFETCH_FRAME        /* *out is the frame, and belongs to the caller */
};

struct prefetch;

/* Makes the next frame. The thread alone calls it, and handles no signals. What takes long in it
 * must end early once *stop is set, which stop_check() tells there. */
typedef enum prefetch_result prefetch_make(void *user, const atomic_bool *stop, struct frame **out);

/* Starts the thread, after signals_setup(). bytes: the bound; 0 is one frame. `user` must stay
 * valid until prefetch_stop(). NULL with a message. */
struct prefetch *prefetch_start(prefetch_make *make, void *user, int64_t bytes);

/* Waits for the next frame. A failure of make() comes after all frames before it, with its message;
 * PREFETCH_FAILED also means that a signal asked to stop. */
enum prefetch_result prefetch_next(struct prefetch *p, struct frame **out);

/* Sets *stop, waits until the thread has ended, and frees the frames that were not taken. Leaves
 * fail_message() as it is. NULL is fine. */
void prefetch_stop(struct prefetch *p);

#endif
