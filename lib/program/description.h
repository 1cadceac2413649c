/* description: what the stages of a run are, as metadata. A stage writes it into its join, and the
 * optimizer keeps it in the state and the model, which then can be read without any flags.
 *
 *   encoder      network/encoder.h      by encode
 *   projector    network/projector.h    by project
 *   predictor    network/projector.h    by project --predictor
 *   classifier   `classes=10`           by classify
 *   class_names  frame/class_names.h    by classify: the names of its classes
 *
 * Several stages may share an optimizer, and each brings its own keys. */
#ifndef DESCRIPTION_H
#define DESCRIPTION_H

#include <stdbool.h>

#include "frame/frame.h"

/* The keys, in an order that metas_copy() takes: NULL ends them. */
enum { DESCRIPTION_KEYS = 5 };
extern const char *const description_keys[DESCRIPTION_KEYS + 1];

/* Returns true if two descriptions under one of the keys are of the same network: if the texts are
 * equal or, for encoders, differ only in `size` or in how their words are written. */
bool description_same(const char *key, const char *a, const char *b);

/* Compares the descriptions that two frames have both. Returns -1 with a message that says "A was
 * made with encoder ..., B with ...". */
int description_compare(const struct frame *a, const char *a_name, const struct frame *b,
                        const char *b_name);

/* ---- an optimizer's ---- */

/* The descriptions that an optimizer's clients joined with, or that it resumed. It begins as {0}. */
struct descriptions {
    struct entry {
        char *text; /* NULL if none */
        int client; /* the client that brought it; -1 for a resumed state */
    } entries[DESCRIPTION_KEYS];
};

/* Checks that a join does not contradict the descriptions that are there. `state` is the path of the
 * resumed state, or NULL. Returns -1 with a message. */
int descriptions_check(const struct descriptions *d, const struct frame *join, const char *state);

/* Stores those of a join that descriptions_check() has accepted; `size` is that of the last join.
 * With client -1 they are those of a resumed state. Returns -1 with a message if memory is out. */
int descriptions_take(struct descriptions *d, const struct frame *join, int client);

/* Drops what a client brought that left before it sent anything else. */
void descriptions_forget(struct descriptions *d, int client);

/* Writes them into a state or a model. */
void descriptions_write(const struct descriptions *d, struct frame *f);
void descriptions_clear(struct descriptions *d);

#endif
