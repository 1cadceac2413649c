#include "data/frame_shards.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/fail.h"
#include "frame/frame_io.h"

struct frame_shards {
    struct shards *shards;
    const struct link_config *links;
    int64_t shard;           /* the present shard */
    struct command *command; /* NULL: it has not been started */
    struct frame_reader *reader;
    bool ended;     /* the last frame was an end frame */
    int64_t frames; /* read from the present shard */
    uint32_t crc;   /* of their tensors */
};

struct frame_shards *frame_shards_new(struct shards *shards, const struct link_config *links)
{
    struct frame_shards *f = calloc(1, sizeof *f);
    if (!f)
        return fail_null("out of memory");
    f->shards = shards;
    f->links = links;
    return f;
}

static void leave_shard(struct frame_shards *f)
{
    frame_reader_free(f->reader);
    f->reader = NULL;
    command_end(f->command);
    f->command = NULL;
}

void frame_shards_free(struct frame_shards *f)
{
    if (!f)
        return;
    leave_shard(f);
    free(f);
}

void frame_shards_rewind(struct frame_shards *f)
{
    leave_shard(f);
    f->shard = 0;
}

bool frame_shards_at_first(const struct frame_shards *f)
{
    return f->frames == 1;
}

const char *frame_shards_name(const struct frame_shards *f)
{
    const int64_t n = shards_count(f->shards);
    return shards_name(f->shards, f->shard < n ? f->shard : n - 1);
}

/* ---- one run of a command ---- */

static int begin_run(struct frame_shards *f)
{
    frame_reader_free(f->reader);
    f->reader = frame_reader_new((size_t)f->links->max_frame, frame_shards_name(f));
    f->ended = false;
    return f->reader ? 0 : -1;
}

static enum source_result at_end(struct frame_shards *f)
{
    command_ended(f->command);
    if (f->ended)
        return command_finish(f->command) ? SOURCE_FAILED : SOURCE_END;
    fail("%s: ended without an end frame: its producer died", frame_shards_name(f));
    command_blame(f->command);
    return SOURCE_FAILED;
}

/* Takes a frame that has arrived. Returns SOURCE_END for an end frame, which others may follow. */
static enum source_result take(struct frame_shards *f, struct frame *frame)
{
    const char *error = frame_meta(frame, "error");
    f->ended = frame_is_end(frame);
    if (!error && !f->ended)
        return SOURCE_FRAME;
    if (error)
        fail("%s: %s", frame_shards_name(f), error);
    frame_free(frame);
    return error ? SOURCE_FAILED : SOURCE_END;
}

/* Gets the next frame of this run. */
static enum source_result next_of_run(struct frame_shards *f, struct frame **out)
{
    for (;;) {
        if (command_wait(f->command))
            return SOURCE_FAILED;
        enum source_result result;
        switch (frame_reader_step(f->reader, command_descriptor(f->command), out)) {
        case FRAME_READER_FRAME:
            result = take(f, *out);
            if (result != SOURCE_END)
                return result;
            break;
        case FRAME_READER_FAILED:
            command_blame(f->command);
            return SOURCE_FAILED;
        case FRAME_READER_EOF:
            return at_end(f);
        case FRAME_READER_MORE:
            break;
        }
    }
}

/* ---- again ---- */

static uint32_t add_frame(uint32_t crc, const struct frame *frame)
{
    for (int i = 0; i < frame->n_tensors; i++) {
        const struct tensor *t = &frame->tensors[i];
        crc = (uint32_t)crc32_z(crc, (const void *)t->name, strlen(t->name) + 1);
        crc = (uint32_t)crc32_z(crc, (const void *)t->shape, (size_t)t->ndim * sizeof *t->shape);
        if (t->bytes)
            crc = (uint32_t)crc32_z(crc, t->data, t->bytes);
    }
    return crc;
}

enum progress { BROKEN = -2, FAILED = -1, DONE = 0 };

/* Reads the frames that the caller has already got. */
static enum progress pass_over(struct frame_shards *f)
{
    uint32_t crc = 0;
    enum source_result result = SOURCE_FRAME;
    for (int64_t i = 0; i < f->frames && result == SOURCE_FRAME; i++) {
        struct frame *frame;
        result = next_of_run(f, &frame);
        if (result == SOURCE_FRAME) {
            crc = add_frame(crc, frame);
            frame_free(frame);
        }
    }
    if (result == SOURCE_FAILED)
        return BROKEN;
    if (result == SOURCE_FRAME && crc == f->crc)
        return DONE;
    fail("%s: delivers other frames than before: its first %lld have changed", frame_shards_name(f),
         (long long)f->frames);
    return FAILED;
}

/* After a failure, runs the command again until it has delivered what was read before. Returns -1
 * with a message on failure. */
static int again(struct frame_shards *f)
{
    enum progress progress = BROKEN;
    while (progress == BROKEN) {
        if (command_retry(f->command, f->frames, "frames") != COMMAND_AGAIN || begin_run(f))
            return -1;
        progress = pass_over(f);
    }
    return progress == DONE ? 0 : -1;
}

/* ---- all shards ---- */

enum source_result frame_shards_next(struct frame_shards *f, struct frame **out)
{
    while (f->shard < shards_count(f->shards)) {
        if (!f->command) {
            f->frames = 0;
            f->crc = 0;
            f->command = shards_begin(f->shards, f->shard);
            if (!f->command || begin_run(f))
                return SOURCE_FAILED;
        }
        enum source_result result;
        while ((result = next_of_run(f, out)) == SOURCE_FAILED)
            if (again(f))
                return SOURCE_FAILED;
        if (result == SOURCE_FRAME) {
            f->crc = add_frame(f->crc, *out);
            f->frames++;
            return SOURCE_FRAME;
        }
        leave_shard(f);
        f->shard++;
    }
    return SOURCE_END;
}
