/* lender: the client's side of shared memory on a link. It makes segments, puts the data of requests
 * into them, and lends one to the server with each such request. The server returns it with its
 * reply, whose data it may have put into the same segment.
 *
 * Segments are used again, so a client that sends frames of the same sizes in each step makes none
 * after the first steps. Nothing is ever lent before the server has said on the channel that it
 * takes it (borrower.h). */
#ifndef LENDER_H
#define LENDER_H

#include <stdbool.h>
#include <stddef.h>

#include "frame/frame.h"

struct lender;

/* A frame with less data than this is sent whole, which is as fast. */
enum { LENDER_LEAST = 32 << 10 };

/* Makes a lender that hands segments over a channel (shared_memory.h), which it owns from then on,
 * also on failure. All its segments together have at most `most` bytes. `open` says that the server
 * takes shared memory; otherwise the lender waits until the server says so on the channel. Returns
 * NULL with a message. */
struct lender *lender_new(int channel, size_t most, bool open);

/* Lends nothing any more, and frees the lender as soon as no frame holds a segment. l may be NULL.
 */
void lender_free(struct lender *l);

/* Returns true if the server takes shared memory. It may say so at any time. */
bool lender_is_open(struct lender *l);

/* Sets *memory to a segment of at least `size` bytes for a frame to hold, or to NULL if the frame has
 * to go without: it is small, larger than all segments together may be, or the server has not said
 * that it takes shared memory or can't take more now. Returns -1 with a message if there is no more
 * memory. */
int lender_take(struct lender *l, size_t size, struct frame_memory **memory);

/* Returns true if the data of f lies in a segment of this lender. */
bool lender_has(const struct lender *l, const struct frame *f);

/* Must be called for each request in the order of sending: lends the segment that f holds, or none.
 * Returns -1 with a message if memory is out. */
int lender_lend(struct lender *l, const struct frame *f);
/* Must be called for each reply after it has been read: what was lent with its request is back. */
void lender_settle(struct lender *l);

/* Gives the memory of segments that nobody uses back to the system. They are not used again. */
void lender_trim(struct lender *l);

/* Returns the finder for the replies' reader: it finds only what was lent with the request that is
 * answered next. */
struct frame_finder lender_finder(struct lender *l);

#endif
