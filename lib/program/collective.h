/* collective: what the programs gather and reduce share: they match the frames of N workers, round
 * by round.
 *
 * Each worker is a client that says who it is by `rank` and `world` in its frames. A round is the
 * next frame of each rank, in the order of its link; the frames of a round have the same `step` and
 * the same `kind`. The program makes one frame of them, which goes to --next or is itself the
 * answer; each rank gets an answer.
 *
 * With a world of W workers and --world N, N < W, these are the N neighbouring ranks of one of W /
 * N groups: what is made of them is itself of rank `group` in a world of W / N. So gathers and
 * reduces are put together to trees. */
#ifndef COLLECTIVE_H
#define COLLECTIVE_H

#include <stdint.h>

#include "cli/options.h"
#include "frame/frame.h"

struct collective;

/* --world and --next; a program takes server_option_specs and link_option_specs too. */
extern const struct option_spec collective_option_specs[];

/* Returns N, the number of workers in this group. */
int collective_count(const struct collective *r);

/* A round fails with a message that names the rank: one that is ahead, that ended before the
 * others, or sent nothing for nine tenths of --timeout while others wait. A client that is no rank
 * of this world, or a rank that is there already, and a frame of a step that its rank has left
 * behind are refused with a line, and the round goes on (server_refuse()). */

/* Sends the frame that was made of a round's frames (consumed) to --next. *answer, the caller's, is
 * what comes back, or without --next the request itself. Returns -1 with a message. */
int collective_ask(struct collective *r, struct frame *request, struct frame **answer);

/* Answers rank i of the round (consumes f). Returns -1 with a message. */
int collective_reply(struct collective *r, int i, struct frame *f);

/* Runs a whole program: opens the server, hands the frames of each round to `answer`, and closes;
 * or sends the ranks an error frame if something failed. `answer` must answer all ranks and returns
 * -1 with a message on failure; the frames stay this function's. Returns the program's exit status.
 */
int collective_run(int (*answer)(struct collective *r, struct frame **frames));

#endif
