/* command: a shell command whose stdout is read, and which can be run again if its output breaks
 * off. It runs by /bin/sh in a process group of its own, with an empty stdin. Nothing of that group
 * is left after command_finish() or command_end(). */
#ifndef COMMAND_H
#define COMMAND_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "link/endpoint.h"

struct command;

/* Starts the command. `name` stands for it in messages and must stay valid. If it delivers nothing
 * for links->timeout seconds, or does not exit within that time after its output has ended, it has
 * failed. Returns NULL with a message on failure. */
struct command *command_start(const char *name, const char *text, const struct link_config *links,
                              int64_t retries);
/* Ends the command if it still runs, and frees c. Leaves fail_message() as it was. c may be NULL.
 */
void command_end(struct command *c);

/* Reads up to n bytes of its output. Returns their number, 0 at the end of the output, -1 with a
 * message on failure. */
ssize_t command_read(struct command *c, void *out, size_t n);
/* Copies the first bytes of the output without consuming them. Returns their number, which is less
 * than n if the output ends before, or -1 with a message. */
ssize_t command_peek(struct command *c, void *out, size_t n);

/* For a caller that reads from the descriptor itself: waits until it is readable. Returns -1 with a
 * message on failure. After the end of the output the caller calls command_ended(). */
int command_wait(struct command *c);
int command_descriptor(const struct command *c);
void command_ended(struct command *c);

/* Waits, at the end of the output, until the command has exited. Returns -1 with a message if it
 * did not exit with status 0. */
int command_finish(struct command *c);
/* Call it after something has failed that the output's reader has a message for. If the command
 * itself has failed, replaces the message by that one, since it is the cause. Returns -1. */
int command_blame(struct command *c);

enum command_retry { COMMAND_GIVE_UP = -1, COMMAND_AGAIN = 0 };
/* Runs the command again after a failure, whose message fail_message() has. Prints a line about it,
 * with the number n of things ("entries", "frames") that had been read, and waits a little before.
 * If no retry is left or the program should stop, leaves a message that says so. */
enum command_retry command_retry(struct command *c, int64_t n, const char *things);

#endif
