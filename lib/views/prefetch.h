/* prefetch: frames made ahead by a thread of its own, so that who takes them need not wait.
 *
 * They come in the order they were made in. What is made and not yet taken stays within a bound: a
 * frame is begun only where one as large as the largest so far still fits, or where none is left.
 * So memory is the bound (or one frame, if that is more) and the frame that was taken last. */
#ifndef PREFETCH_H
#define PREFETCH_H

#include <stdatomic.h>
#include <stdint.h>

#include "frame/frame.h"

struct prefetch;

/* Makes the next frame: 1 and *out, 0 after the last, -1 with a message. It is called by the one
 * thread, and signals are for the others. What takes long in it ends early where *stop is set, as
 * stop_check() does there. */
typedef int prefetch_make(void *user, const atomic_bool *stop, struct frame **out);

/* Starts to make frames, after signals_setup(). bytes: the bound; 0 is one frame. user has to stay
 * until prefetch_stop(). NULL with a message. */
struct prefetch *prefetch_start(prefetch_make *make, void *user, int64_t bytes);
/* The next frame: 1 and *out (the caller's), 0 after the last, -1 with the message of what failed,
 * after all frames before it, or where a signal asked to stop. */
int prefetch_next(struct prefetch *a, struct frame **out);
/* Sets *stop, waits until the thread has ended and frees what was not taken. Keeps fail_message().
 * NULL is fine. */
void prefetch_stop(struct prefetch *a);

#endif
