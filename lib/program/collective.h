/* collective: the code that the programs gather and reduce share. It matches the frames of N
 * workers, round by round.
 *
 * Each worker is a client that identifies itself by `rank` and `world` in its frames. A round is
 * the next frame of each rank, in the order of its link; all frames of a round have the same `step`
 * and the same `kind`. The program makes one frame of them, which is either sent to --next or is
 * itself the answer. Each rank gets an answer.
 *
 * With a world of W workers and --world N, N < W, the program serves N neighbouring ranks, one of W
 * / N groups. The frame that it makes then has rank `group` in a world of W / N. In this way
 * gathers and reduces can be combined to trees. */
#ifndef COLLECTIVE_H
#define COLLECTIVE_H

#include <stdint.h>

#include "cli/options.h"
#include "frame/frame.h"

/* A running gather or reduce. */
struct collective;

/* The flags --world and --next. A program takes server_option_specs and link_option_specs too. */
extern const struct option_spec collective_option_specs[];

/* Returns N, the number of workers in this group. */
int collective_count(const struct collective *r);

/* A round fails with a message that names the rank if a rank is ahead, ended before the others, or
 * sent nothing for nine tenths of --timeout while others wait. Some frames are refused with a line
 * on stderr, and the round goes on (server_refuse()): those of a client that is no rank of this
 * world, of a second client with the same rank, and of a step before the one that their rank has
 * reached. */

/* Sends the round's combined frame (consumed) to --next and sets *answer, which the caller frees,
 * to the reply. Without --next, *answer is the request itself. Returns -1 with a message. */
int collective_ask(struct collective *r, struct frame *request, struct frame **answer);

/* Answers rank i of the round (consumes f). Returns -1 with a message. */
int collective_reply(struct collective *r, int i, struct frame *f);

/* Runs a whole program: opens the server, passes the frames of each round to `answer`, and closes.
 * If something fails, sends the ranks an error frame. `answer` must answer all ranks and returns -1
 * with a message on failure; this function frees the frames. Returns the program's exit status. */
int collective_run(int (*answer)(struct collective *r, struct frame **frames));

#endif
