#include "program/collective.h"
#include "base/warn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "link/link.h"
#include "link/server.h"
#include "program/description.h"
#include "program/link_options.h"

static int64_t world = 1;
static const char *next = "";

const struct option_spec collective_option_specs[] = {
    {.name = "world",
     .kind = OPTION_INT,
     .value = &world,
     .argument = "N",
     .min = 1,
     .max = 4096,
     .help = "workers whose frames are put together"},
    {.name = "next",
     .kind = OPTION_STRING,
     .value = &next,
     .argument = "LINK",
     .help = "where what they make goes, and the answer comes from"},
    {0},
};

struct rank {
    int client; /* -1 until its first frame */
    bool ended;
    int64_t step;          /* step of its latest frame; -1 if none had one */
    struct frame **frames; /* its frames that wait for their rounds */
    int64_t capacity;
    int n;
};

struct collective {
    struct server *server;
    struct link *next; /* NULL if there is none */
    struct rank *list;
    int count;
    int64_t group, groups; /* this group's number, and how many; -1 until known */
};

int collective_count(const struct collective *r)
{
    return r->count;
}

static void release(struct collective *r)
{
    for (int i = 0; r->list && i < r->count; i++) {
        while (r->list[i].n)
            frame_free(r->list[i].frames[--r->list[i].n]);
        free(r->list[i].frames);
    }
    free(r->list);
    free(r);
}

static struct collective *open_ranks(void)
{
    struct collective *r = calloc(1, sizeof *r);
    if (!r || !(r->list = calloc((size_t)world, sizeof *r->list))) {
        free(r);
        fail_memory(NULL);
        return NULL;
    }
    r->count = (int)world;
    r->group = -1;
    for (int i = 0; i < r->count; i++)
        r->list[i] = (struct rank){.client = -1, .step = -1};
    if ((r->server = server_open(&server_options)) && !server_expect(r->server, r->count) &&
        (!*next || (r->next = link_open(next, &link_options))))
        return r;
    server_abandon(r->server);
    release(r);
    return NULL;
}

/* ---- the ranks ---- */

/* Returns the rank within this group that sent a frame, or -1 with a message. */
static int rank_of(struct collective *r, const struct frame *f)
{
    int64_t rank, all;
    if (frame_meta_int(f, "rank", r->count == 1 ? 0 : -1, &rank) ||
        frame_meta_int(f, "world", r->count, &all))
        return -1;
    if (rank < 0)
        return fail("a frame without `rank`: was it made with augment --shard r/%d?", r->count);
    if (all < 1 || rank >= all || all % r->count)
        return fail("a frame of rank %lld of %lld, where --world is %d", (long long)rank,
                    (long long)all, r->count);
    const int64_t group = rank / r->count, groups = all / r->count;
    if (r->group < 0) {
        r->group = group;
        r->groups = groups;
    }
    if (group != r->group || groups != r->groups)
        return fail("a frame of rank %lld of %lld, where others are of ranks %lld to %lld of %lld",
                    (long long)rank, (long long)all, (long long)(r->group * r->count),
                    (long long)(r->group * r->count + r->count - 1),
                    (long long)(r->groups * r->count));
    return (int)(rank % r->count);
}

/* Returns the number that rank i of this group has in the frames. */
static long long number(const struct collective *r, int i)
{
    return (long long)((r->group < 0 ? 0 : r->group * r->count) + i);
}

static bool is_rank(const struct collective *r, int client)
{
    for (int i = 0; i < r->count; i++)
        if (r->list[i].client == client)
            return true;
    return false;
}

/* Checks that a frame may be rank i's next. Returns -1 with a message. Sets *late if the frame's
 * step is earlier than that of the rank's last frame. */
static int check_frame(struct collective *r, int i, int client, const struct frame *f, bool *late)
{
    struct rank *rank = &r->list[i];
    if (rank->client != client && is_rank(r, client))
        return fail("client %d sent a frame of rank %lld and is another one", client, number(r, i));
    if (rank->client >= 0 && rank->client != client)
        return fail("rank %lld came twice: as client %d and as client %d", number(r, i),
                    rank->client, client);
    int64_t step;
    if (frame_meta_int(f, "step", rank->step, &step))
        return -1;
    *late = step < rank->step;
    if (*late)
        return fail("rank %lld sent step %lld again, after step %lld", number(r, i),
                    (long long)step, (long long)rank->step);
    rank->step = step;
    return 0;
}

static int queue(struct rank *rank, struct frame *f)
{
    struct frame **frames = grow(rank->frames, rank->n, &rank->capacity, sizeof *frames);
    if (!frames)
        return fail_memory(NULL);
    rank->frames = frames;
    frames[rank->n++] = f;
    return 0;
}

/* Queues a frame (consumes f). Refuses the frames of a client that is none of the ranks, and frames
 * whose step is over. Returns -1 with a message if a rank does anything else that it must not do.
 */
static int take(struct collective *r, int client, struct frame *f)
{
    const int i = rank_of(r, f);
    const bool known = is_rank(r, client);
    bool late = false;
    if (i < 0 || check_frame(r, i, client, f, &late)) {
        frame_free(f);
        return late || !known ? server_refuse(r->server, client, late) : -1;
    }
    r->list[i].client = client;
    if (!queue(&r->list[i], f))
        return 0;
    frame_free(f);
    return -1;
}

static void take_end(struct collective *r, int client)
{
    for (int i = 0; i < r->count; i++)
        if (r->list[i].client == client)
            r->list[i].ended = true;
}

/* ---- rounds ---- */

static bool round_is_there(const struct collective *r)
{
    for (int i = 0; i < r->count; i++)
        if (!r->list[i].n)
            return false;
    return true;
}

/* Fails if a rank that others wait for has ended. */
static int check_ends(const struct collective *r)
{
    int ended = -1, waits = -1;
    for (int i = 0; i < r->count; i++) {
        if (r->list[i].ended && !r->list[i].n)
            ended = i;
        if (r->list[i].n)
            waits = i;
    }
    return ended >= 0 && waits >= 0
               ? fail("rank %lld has ended, rank %lld goes on", number(r, ended), number(r, waits))
               : 0;
}

static int check_same(const struct collective *r, struct frame *const *frames, const char *key)
{
    for (int i = 1; i < r->count; i++) {
        const char *a = frame_meta(frames[0], key), *b = frame_meta(frames[i], key);
        if ((a || b) && (!a || !b || strcmp(a, b)))
            return fail("rank %lld is at %s %s, rank %lld at %s %s", number(r, 0), key,
                        a ? a : "none", number(r, i), key, b ? b : "none");
    }
    return 0;
}

/* Checks that all ranks are of the same network: the sum of their gradients is of one. */
static int check_descriptions(const struct collective *r, struct frame *const *frames)
{
    char first[32], other[32];
    for (int i = 1; i < r->count; i++) {
        snprintf(first, sizeof first, "rank %lld", number(r, 0));
        snprintf(other, sizeof other, "rank %lld", number(r, i));
        if (description_compare(frames[0], first, frames[i], other))
            return -1;
    }
    return 0;
}

static int pop_round(struct collective *r, struct frame **frames)
{
    for (int i = 0; i < r->count; i++) {
        struct rank *rank = &r->list[i];
        frames[i] = rank->frames[0];
        memmove(rank->frames, rank->frames + 1, (size_t)--rank->n * sizeof *rank->frames);
    }
    if (!check_same(r, frames, "step") && !check_same(r, frames, "kind") &&
        !check_same(r, frames, "ema") && !check_descriptions(r, frames))
        return 0;
    for (int i = 0; i < r->count; i++)
        frame_free(frames[i]);
    return -1;
}

/* Leaves a message with the name of the rank that the others wait for, and returns -1. */
static int blame_silent(const struct collective *r)
{
    int silent = 0;
    while (r->list[silent].n)
        silent++;
    return fail("rank %lld sent nothing within %g s, and others wait for it", number(r, silent),
                0.9 * link_options.timeout);
}

enum round_result { ROUND_FAILED = -1, ROUND_NONE = 0, ROUND_COMPLETE = 1 };

/* Waits for the frames of the next round, which the caller frees. Returns ROUND_NONE if all ranks
 * have ended. */
static enum round_result next_round(struct collective *r, struct frame **frames)
{
    while (!round_is_there(r)) {
        struct frame *f;
        int client;
        bool ends, waiting = false;
        for (int i = 0; i < r->count; i++)
            waiting = waiting || r->list[i].n;
        const enum server_result got = server_next_within(
            r->server, waiting ? 0.9 * link_options.timeout : -1, &f, &client, &ends);
        if (got == SERVER_ENDED)
            return ROUND_NONE;
        if (got == SERVER_NOTHING)
            blame_silent(r);
        if (got != SERVER_REQUEST)
            return ROUND_FAILED;
        if (ends)
            take_end(r, client);
        else if (take(r, client, f))
            return ROUND_FAILED;
        if (check_ends(r))
            return ROUND_FAILED;
    }
    return pop_round(r, frames) ? ROUND_FAILED : ROUND_COMPLETE;
}

int collective_ask(struct collective *r, struct frame *request, struct frame **answer)
{
    frame_drop_meta(request, "rank");
    frame_drop_meta(request, "world");
    if (r->groups > 1) {
        frame_set_meta_int(request, "rank", r->group);
        frame_set_meta_int(request, "world", r->groups);
    }
    *answer = request;
    if (!r->next || !link_request(r->next, request, answer))
        return 0;
    *answer = NULL;
    return -1;
}

int collective_reply(struct collective *r, int i, struct frame *f)
{
    frame_set_meta_int(f, "rank", r->group * r->count + i);
    frame_set_meta_int(f, "world", r->groups * r->count);
    return server_reply(r->server, r->list[i].client, f);
}

/* ---- a program ---- */

static int end_ranks(struct collective *r)
{
    const int bad = r->next && (link_end(r->next) | link_close(r->next));
    if (bad)
        server_abandon(r->server);
    const int worse = bad || server_end(r->server);
    release(r);
    return worse ? -1 : 0;
}

static void abandon_ranks(struct collective *r)
{
    server_abandon(r->server);
    link_close(r->next);
    release(r);
}

static int serve(struct collective *r, int (*answer)(struct collective *r, struct frame **frames))
{
    struct frame **frames = calloc((size_t)r->count, sizeof *frames);
    if (!frames)
        return fail_memory(NULL);
    enum round_result got;
    int bad = 0;
    while (!bad && (got = next_round(r, frames)) == ROUND_COMPLETE) {
        bad = answer(r, frames);
        for (int i = 0; i < r->count; i++)
            frame_free(frames[i]);
    }
    free(frames);
    return bad || got != ROUND_NONE ? -1 : 0;
}

int collective_run(int (*answer)(struct collective *r, struct frame **frames))
{
    struct collective *r = open_ranks();
    if (!r)
        return warn_failure();
    if (serve(r, answer)) {
        const int status = warn_failure(); /* first, so that the cause comes first in a log */
        abandon_ranks(r);
        return status;
    }
    return end_ranks(r) ? warn_failure() : 0;
}
