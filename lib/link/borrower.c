#include "link/borrower.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/grow.h"
#include "link/lender.h"
#include "link/shared_memory.h"

/* A segment of the client's. */
struct loan {
    struct frame_memory memory; /* first, so that a pointer to it is one to the loan */
    struct borrower *owner;
    int holders; /* frames */
};

struct borrower {
    int channel;
    size_t limit;
    bool freed; /* by borrower_free(), and some frames still hold segments */
    struct loan **loans;
    int64_t capacity;
    int n;
    int64_t latest;
};

/* ---- the offer to a command ---- */

static int pipe_of(int fd, struct stat *status)
{
    return fstat(fd, status) || !S_ISFIFO(status->st_mode) ? -1 : 0;
}

int borrower_describe(char *text, int channel, int in, int out)
{
    struct stat i, o;
    if (pipe_of(in, &i) || pipe_of(out, &o))
        return -1;
    snprintf(text, BORROWER_TEXT, "%d %ju:%ju %ju:%ju", channel, (uintmax_t)i.st_dev,
             (uintmax_t)i.st_ino, (uintmax_t)o.st_dev, (uintmax_t)o.st_ino);
    return 0;
}

/* Returns the channel if the offer is to this program, else -1. */
static int accept_offer(const char *offer)
{
    char *end, own[BORROWER_TEXT];
    const long channel = strtol(offer, &end, 10);
    if (end == offer || channel < 3 || channel > INT32_MAX)
        return -1;
    if (borrower_describe(own, (int)channel, 0, 1) || strcmp(own, offer))
        return -1;
    return shared_memory_trusts((int)channel) ? (int)channel : -1;
}

struct borrower *borrower_new(int channel, size_t limit)
{
    struct borrower *b = calloc(1, sizeof *b);
    if (b)
        *b = (struct borrower){.channel = channel, .limit = limit, .latest = -1};
    return b;
}

struct borrower *borrower_open(size_t limit)
{
    const char *offer = getenv(BORROWER_VARIABLE);
    const int channel = offer ? accept_offer(offer) : -1;
    if (offer)
        unsetenv(BORROWER_VARIABLE);
    if (channel < 0)
        return NULL;
    fcntl(channel, F_SETFD, FD_CLOEXEC);
    struct borrower *b = borrower_new(channel, limit);
    if (!b || shared_memory_send(channel, BORROWER_HELLO, sizeof BORROWER_HELLO, -1)) {
        free(b);
        close(channel);
        return NULL;
    }
    return b;
}

/* ---- segments ---- */

static void destroy(struct borrower *b)
{
    for (int i = 0; i < b->n; i++)
        if (b->loans[i]->holders)
            return; /* the last holder calls again */
    for (int i = 0; i < b->n; i++) {
        shared_memory_unmap(b->loans[i]->memory.bytes, b->loans[i]->memory.size);
        free(b->loans[i]);
    }
    free(b->loans);
    free(b);
}

void borrower_free(struct borrower *b)
{
    if (!b)
        return;
    close(b->channel);
    b->freed = true;
    destroy(b);
}

static void release(struct frame_memory *m)
{
    struct loan *loan = (struct loan *)m;
    loan->holders--;
    if (loan->owner->freed)
        destroy(loan->owner);
}

/* Maps a segment that has come. Closes fd. Returns -1 with a message. */
static int add(struct borrower *b, const struct borrower_offer *offer, int fd)
{
    struct loan **loans = grow(b->loans, b->n, &b->capacity, sizeof *loans);
    struct loan *loan = calloc(1, sizeof *loan);
    int bad = 0;
    if (loans)
        b->loans = loans;
    if (!loans || !loan)
        bad = fail_memory(NULL);
    else if (fd < 0)
        bad = fail("shared memory %" PRIu32 " came without its descriptor", offer->number);
    else if (offer->magic != BORROWER_OFFER || offer->number != (uint32_t)b->n ||
             b->n == BORROWER_MOST)
        bad = fail("shared memory: an offer that makes no sense");
    else
        bad = shared_memory_map(fd, b->limit, &loan->memory.bytes, &loan->memory.size);
    if (fd >= 0)
        close(fd);
    if (bad) {
        free(loan);
        return -1;
    }
    loan->memory.number = offer->number;
    loan->memory.release = release;
    loan->owner = b;
    loans[b->n++] = loan;
    return 0;
}

static struct frame_memory *find(void *user, uint32_t number, size_t size)
{
    struct borrower *b = user;
    while (number >= (uint32_t)b->n) {
        struct borrower_offer offer;
        int fd;
        switch (shared_memory_receive(b->channel, &offer, sizeof offer, &fd)) {
        case SHARED_MEMORY_MESSAGE:
            if (add(b, &offer, fd))
                return NULL;
            break;
        case SHARED_MEMORY_NOTHING:
            return fail_null("data in shared memory %" PRIu32 ", which has not come", number);
        case SHARED_MEMORY_FAILED:
            return NULL;
        }
    }
    struct loan *loan = b->loans[number];
    if (size > loan->memory.size)
        return fail_null("%zu bytes of data in shared memory of %zu", size, loan->memory.size);
    if (loan->holders)
        return fail_null("data in shared memory %" PRIu32 ", which is in use", number);
    loan->holders++;
    b->latest = number;
    return &loan->memory;
}

struct frame_finder borrower_finder(struct borrower *b)
{
    return (struct frame_finder){find, b};
}

int64_t borrower_latest(struct borrower *b)
{
    const int64_t latest = b->latest;
    b->latest = -1;
    return latest;
}

bool borrower_put(struct borrower *b, int64_t number, struct frame *f)
{
    if (number < 0 || number >= b->n)
        return false;
    struct loan *loan = b->loans[number];
    if (f->shared == &loan->memory)
        return true;
    if (loan->holders || f->data_size < LENDER_LEAST || f->data_size > loan->memory.size)
        return false;
    loan->holders++;
    frame_move(f, &loan->memory);
    return true;
}
