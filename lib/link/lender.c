#include "link/lender.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/grow.h"
#include "link/borrower.h"
#include "link/shared_memory.h"

/* A segment. It is in use as long as a frame holds it or a request has taken it to the server. */
struct segment {
    struct frame_memory memory; /* first, so that a pointer to it is one to the segment */
    struct lender *owner;
    int holders;
    bool lent, empty; /* empty: its memory has been given back */
};

struct lender {
    int channel;
    bool open, closed; /* the server takes memory; it will not any more */
    bool freed;        /* by lender_free(), and some frames still hold segments */
    size_t most, total;
    struct segment **segments;
    int64_t capacity;
    int n;
    struct segment **lent; /* of each request without reply; NULL for one without a segment */
    int64_t lent_capacity;
    int n_lent;
};

struct lender *lender_new(int channel, size_t most, bool open)
{
    struct lender *l = calloc(1, sizeof *l);
    if (!l) {
        close(channel);
        return fail_null("out of memory");
    }
    l->channel = channel;
    l->most = most;
    l->open = open;
    return l;
}

static void destroy(struct lender *l)
{
    for (int i = 0; i < l->n; i++) {
        if (l->segments[i]->holders)
            return; /* the last holder calls again */
    }
    for (int i = 0; i < l->n; i++) {
        shared_memory_unmap(l->segments[i]->memory.bytes, l->segments[i]->memory.size);
        free(l->segments[i]);
    }
    free(l->segments);
    free(l);
}

void lender_free(struct lender *l)
{
    if (!l)
        return;
    close(l->channel);
    free(l->lent);
    l->freed = true;
    destroy(l);
}

bool lender_is_open(struct lender *l)
{
    char hello[sizeof BORROWER_HELLO];
    if (!l->open && !l->closed)
        switch (shared_memory_receive(l->channel, hello, sizeof hello, NULL)) {
        case SHARED_MEMORY_MESSAGE:
            l->open = !memcmp(hello, BORROWER_HELLO, sizeof hello);
            l->closed = !l->open;
            break;
        case SHARED_MEMORY_FAILED: /* no program of this version at the other end */
            l->closed = true;
            break;
        case SHARED_MEMORY_NOTHING:
            break;
        }
    return l->open && !l->closed;
}

static void release(struct frame_memory *m)
{
    struct segment *s = (struct segment *)m;
    s->holders--;
    if (s->owner->freed)
        destroy(s->owner);
}

/* Makes a segment and hands it over. Sets *made to NULL if the server can't take it now. Returns -1
 * with a message if there is no memory. */
static int make(struct lender *l, size_t size, struct segment **made)
{
    *made = NULL;
    size = (size + 65535) / 65536 * 65536;
    if (size > l->most - l->total || l->n == BORROWER_MOST)
        return fail("its %zu bytes of shared memory in %d segments are as many as --max-frame %zu "
                    "allows",
                    l->total, l->n, l->most);
    void *segments = grow(l->segments, l->n, &l->capacity, sizeof *l->segments);
    if (segments)
        l->segments = segments;
    struct segment *s = calloc(1, sizeof *s);
    int fd = -1;
    if (!segments || !s) {
        free(s);
        return fail_memory(NULL);
    }
    if (shared_memory_make(size, &s->memory.bytes, &fd)) {
        free(s);
        return -1;
    }
    const struct borrower_offer offer = {BORROWER_OFFER, (uint32_t)l->n};
    const int bad = shared_memory_send(l->channel, &offer, sizeof offer, fd);
    close(fd);
    if (bad) {
        shared_memory_unmap(s->memory.bytes, size);
        free(s);
        return 0;
    }
    s->memory.size = size;
    s->memory.number = offer.number;
    s->memory.release = release;
    s->owner = l;
    l->total += size;
    *made = l->segments[l->n++] = s;
    return 0;
}

int lender_take(struct lender *l, size_t size, struct frame_memory **memory)
{
    struct segment *best = NULL;
    *memory = NULL;
    if (size < LENDER_LEAST || size > l->most || !lender_is_open(l))
        return 0;
    for (int i = 0; i < l->n; i++) {
        struct segment *s = l->segments[i];
        const bool fits = s->memory.size >= size && s->memory.size / 4 <= size;
        if (!s->holders && !s->lent && !s->empty && fits &&
            (!best || s->memory.size < best->memory.size))
            best = s;
    }
    if (!best && make(l, size, &best))
        return -1;
    if (best) {
        best->holders = 1;
        *memory = &best->memory;
    }
    return 0;
}

bool lender_has(const struct lender *l, const struct frame *f)
{
    return f->shared && f->shared->release == release &&
           ((const struct segment *)f->shared)->owner == l;
}

int lender_lend(struct lender *l, const struct frame *f)
{
    struct segment **lent = grow(l->lent, l->n_lent, &l->lent_capacity, sizeof *lent);
    if (!lent)
        return fail_memory(NULL);
    l->lent = lent;
    lent[l->n_lent] = lender_has(l, f) ? (struct segment *)f->shared : NULL;
    if (lent[l->n_lent])
        lent[l->n_lent]->lent = true;
    l->n_lent++;
    return 0;
}

void lender_settle(struct lender *l)
{
    if (l->n_lent == 0)
        return;
    if (l->lent[0])
        l->lent[0]->lent = false;
    memmove(l->lent, l->lent + 1, (size_t)--l->n_lent * sizeof *l->lent);
}

void lender_trim(struct lender *l)
{
    for (int i = 0; i < l->n; i++) {
        struct segment *s = l->segments[i];
        if (s->holders || s->lent || s->empty)
            continue;
        shared_memory_empty(s->memory.bytes, s->memory.size);
        s->empty = true;
        l->total -= s->memory.size;
    }
}

static struct frame_memory *find(void *user, uint32_t number, size_t size)
{
    struct lender *l = user;
    struct segment *s = l->n_lent ? l->lent[0] : NULL;
    if (!s || s->memory.number != number)
        return fail_null("a reply in shared memory that was not lent with its request");
    if (size > s->memory.size)
        return fail_null("a reply of %zu bytes in shared memory of %zu", size, s->memory.size);
    s->holders++;
    return &s->memory;
}

struct frame_finder lender_finder(struct lender *l)
{
    return (struct frame_finder){find, l};
}
