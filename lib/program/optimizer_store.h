/* optimizer_store: the tensors that an optimizer owns: parameters with their slots, and buffers.
 *
 * Functions return -1 or NULL with a message on failure. */
#ifndef OPTIMIZER_STORE_H
#define OPTIMIZER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frame/frame.h"
#include "program/optimizer_rule.h"

/* A parameter with its slots, or a buffer. */
struct owned_tensor {
    char *name; /* without '/', at most OPTIMIZER_STORE_NAME bytes */
    enum dtype dtype;
    int ndim;
    int64_t shape[FRAME_MAX_DIMS];
    size_t count, bytes; /* number of elements, and bytes of the value */
    void *value;
    float *slots[OPTIMIZER_SLOTS]; /* `count` elements each; NULL for a buffer */
    float *slow;                   /* its slow copy (`count`), or NULL (program/ema.h) */
    double momentum;               /* of the slow copy; EMA_NONE if there is none */
    bool buffer;                   /* stored and never optimized (parameter_name.h) */
    bool frozen;                   /* never changes, and receives no gradient */
    int client;                    /* client that joined with it; -1 if none did (resumed state) */
    int64_t updated;               /* last step in which a client sent it; -1 before that */
};

enum { OPTIMIZER_STORE_NAME = 400 }; /* bytes of a name, so that SLOT/NAME fits into 512 */

/* The tensors of an optimizer, in the order in which they were added. */
struct optimizer_store {
    int n_slots; /* slots of each parameter */
    struct owned_tensor *tensors;
    int n;
    int64_t capacity;
    float *widened; /* NULL, or room for the `largest` tensor's elements */
    size_t largest;
};

/* Returns the tensor of that name, or NULL without a message if there is none. The pointer is valid
 * until the next add or remove. */
struct owned_tensor *optimizer_store_find(const struct optimizer_store *s, const char *name);

/* Adds a copy of the tensor, with slots of zeros if it is a parameter. Refuses names that are too
 * long or contain a '/', and parameters that are not F32. Returns the new tensor. */
struct owned_tensor *optimizer_store_add(struct optimizer_store *s, const struct tensor *t);

/* Gives a parameter a slow copy with its present value. Does nothing for a buffer and for EMA_NONE.
 */
int optimizer_store_keep_slow(struct owned_tensor *e, double momentum);

/* Checks that the parameters of a join have slow copies of the join's momentum, or none, if they
 * are there already. `resumed` is the path of the resumed state, or NULL. */
int optimizer_store_check_slow(const struct optimizer_store *s, const struct frame *join,
                               const char *resumed);

/* If e has a slow copy, moves it by the values of the answer, which it puts into t as
 * optimizer_store_answer() does: they are what the client has of e, rounded if t is BF16. */
int optimizer_store_follow(struct optimizer_store *s, const struct owned_tensor *e,
                           struct tensor *t);

/* Returns a new frame: f with the slow copies of its tensors, as ema/NAME. */
struct frame *optimizer_store_add_slow(const struct optimizer_store *s, const struct frame *f);

/* Removes tensor number i; those after it move down. */
void optimizer_store_remove(struct optimizer_store *s, int i);

/* Returns true if t, which was sent as the gradient of e, is BF16; its answer then is BF16, too. */
bool optimizer_store_is_bf16(const struct owned_tensor *e, const struct tensor *t);

/* Checks that t has the shape and dtype of e. With `bf16` it does not check the dtype. */
int optimizer_store_check(const struct owned_tensor *e, const struct tensor *t, bool bf16);

/* Returns the gradient t of e as float32: t's own data, or a copy that is valid until the next
 * call. */
const float *optimizer_store_gradient(struct optimizer_store *s, const struct owned_tensor *e,
                                      const struct tensor *t);

/* Does the same as optimizer_store_answer() for the n elements from number `first` on. */
void optimizer_store_answer_part(const struct owned_tensor *e, struct tensor *t, size_t first,
                                 size_t n);

/* Overwrites the data of t, which has the shape of e, with the current values of e in t's dtype. */
void optimizer_store_answer(const struct owned_tensor *e, struct tensor *t);

void optimizer_store_release(struct optimizer_store *s);

#endif
