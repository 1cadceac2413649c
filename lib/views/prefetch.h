/* prefetch: a thread makes frames before they are needed, so that the caller need not wait for
 * them.
 *
 * Frames come in the order in which they were made. The bytes of frames that are made and not yet
 * taken are bounded. The thread begins a frame only if one as large as the largest so far still
 * fits, or if no frame is left to take. So memory holds at most the bound, or one frame if that is
 * larger, and also the frame that was taken last. */
#ifndef PREFETCH_H
#define PREFETCH_H

#include <stdatomic.h>
#include <stdint.h>

#include "frame/frame.h"

/* The result of making or taking the next frame. */
enum prefetch_result {
    PREFETCH_FAILED = -1, /* fail_message() has the reason */
    PREFETCH_END,         /* there are no more frames */
    PREFETCH_FRAME        /* *out is the frame, and belongs to the caller */
};

struct prefetch;

/* Makes the next frame. Only the thread calls it, and the thread handles no signals. A long
 * operation in it must end early once *stop is set; stop_check() reports this to it. */
typedef enum prefetch_result prefetch_make(void *user, const atomic_bool *stop, struct frame **out);

/* Starts the thread. Call it after signals_setup(). `bytes` is the bound; 0 means one frame. `user`
 * must stay valid until prefetch_stop(). Returns NULL with a message on failure. */
struct prefetch *prefetch_start(prefetch_make *make, void *user, int64_t bytes);

/* Waits for the next frame. If make() failed, PREFETCH_FAILED comes after all frames before it,
 * with make()'s message. PREFETCH_FAILED also means that a signal asked the program to stop. */
enum prefetch_result prefetch_next(struct prefetch *p, struct frame **out);

/* Sets *stop, waits until the thread has ended, and frees the frames that were not taken. Leaves
 * fail_message() unchanged. NULL is fine. */
void prefetch_stop(struct prefetch *p);

#endif
