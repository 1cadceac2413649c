/* borrower: the server's side of shared memory on a link (lender.h). It maps the segments that the
 * client hands over, finds the data of requests in them, and puts the data of replies there.
 *
 * A server takes shared memory only if nothing lies between it and the client, because a program in
 * the middle, such as tee, would see headers without data. With exec: the client puts the variable
 * SIMCLR_OFFER into the command's environment: the descriptor of the channel, and device and inode
 * of the two pipes. The server compares them with its own stdin and stdout; if it finds the same
 * pipes, it says so on the channel. Any other program ignores the variable and gets whole frames. */
#ifndef BORROWER_H
#define BORROWER_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/frame.h"

/* The messages of the channel. The server sends only BORROWER_HELLO, with its final zero. After it
 * the client sends an offer with the descriptor of each segment. Segments are numbered from 0. */
#define BORROWER_HELLO "simclr shared memory 1"
#define BORROWER_OFFER 0x53484d31u
struct borrower_offer {
    uint32_t magic, number;
};
enum { BORROWER_MOST = 4096 }; /* segments of a client */

/* The name of the variable, and its text for a command whose stdin and stdout are these pipes and
 * which inherits the descriptor `channel`. Returns -1 if the pipes can't be told apart from others.
 */
#define BORROWER_VARIABLE "SIMCLR_OFFER"
enum { BORROWER_TEXT = 128 };
int borrower_describe(char *text, int channel, int in, int out);

struct borrower;

/* Takes the memory that this program's client offers. Returns NULL, mostly without a message, if
 * none is offered, or none that can be used. Segments may have at most `limit` bytes. Removes the
 * variable from the environment, and the descriptor is not inherited by commands. */
struct borrower *borrower_open(size_t limit);
/* Takes the memory that comes over this channel, which the borrower owns from then on, but not on
 * failure. Returns NULL without a message if memory is out. */
struct borrower *borrower_new(int channel, size_t limit);
/* No frame may hold a segment any more, or it must be freed later; b may be NULL. */
void borrower_free(struct borrower *b);

/* Returns the finder for the requests' reader. */
struct frame_finder borrower_finder(struct borrower *b);

/* Returns the number of the segment in which the request lay that was read last, or -1 if it was
 * whole. */
int64_t borrower_latest(struct borrower *b);

/* Moves the data of a reply into the segment `number` in which its request came, or leaves it where
 * it is. Returns true if it lies there, so that its header is enough. It does not if number is -1,
 * if the data does not fit, or if a frame other than f still uses the segment. */
bool borrower_put(struct borrower *b, int64_t number, struct frame *f);

#endif
