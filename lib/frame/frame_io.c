#include "frame/frame_io.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/atomic_file.h"
#include "base/fail.h"
#include "base/stop.h"
#include "frame/foreign.h"

/* The state of a reader. A frame arrives in three parts: the header's length, the header, and the
 * data. `into`, `have` and `want` describe the part that is being filled. The buffer for a header
 * grows only as bytes arrive, so that a hostile length costs nothing. */
struct frame_reader {
    size_t limit;
    char *where;
    enum { PART_LENGTH, PART_HEADER, PART_DATA } part;
    unsigned char length[8];
    char *header;
    size_t header_capacity, header_length;
    struct frame *frame;
    unsigned char *into;
    size_t have, want;
    int64_t taken;              /* bytes of all parts so far */
    int64_t found;              /* of these, bytes in shared memory */
    struct frame_finder finder; /* finder.find is NULL if no memory is shared */
    bool shared;                /* this frame's data lies in the memory of this number */
    uint32_t number;
};

enum { HEADER_STEP = 1 << 16 };

static void start(struct frame_reader *r)
{
    r->part = PART_LENGTH;
    r->into = r->length;
    r->have = 0;
    r->want = sizeof r->length;
}

struct frame_reader *frame_reader_new(size_t limit, const char *where)
{
    struct frame_reader *r = calloc(1, sizeof *r);
    if (!r || !(r->where = strdup(where))) {
        free(r);
        fail_memory(NULL);
        return NULL;
    }
    r->limit = limit;
    start(r);
    return r;
}

void frame_reader_free(struct frame_reader *r)
{
    if (!r)
        return;
    frame_free(r->frame);
    free(r->header);
    free(r->where);
    free(r);
}

int64_t frame_reader_found(const struct frame_reader *r)
{
    return r->found;
}

void frame_reader_share(struct frame_reader *r, const struct frame_finder *finder)
{
    r->finder = *finder;
}

int64_t frame_reader_taken(const struct frame_reader *r)
{
    return r->taken;
}

static int grow_header(struct frame_reader *r)
{
    size_t want = r->header_capacity + HEADER_STEP;
    if (want < 2 * r->header_capacity)
        want = 2 * r->header_capacity;
    if (want > r->header_length)
        want = r->header_length;
    char *header = realloc(r->header, want);
    if (!header)
        return fail("%s: out of memory for a header of %zu bytes", r->where, r->header_length);
    r->header = header;
    r->header_capacity = want;
    r->into = (unsigned char *)header;
    r->want = want;
    return 0;
}

/* Replaces the message of a failure if the first bytes are those of a known format. Naming the
 * format says more than that the bytes are no length, or that no JSON follows. */
static void tell_foreign(const struct frame_reader *r)
{
    const char *kind = foreign_kind(r->length);
    if (kind)
        fail("%s: not a frame but %s", r->where, kind);
}

/* Goes on to the next part after one is complete. Returns 1 if that was the last part. */
static int advance_part(struct frame_reader *r)
{
    if (r->part == PART_LENGTH) {
        uint64_t length = 0;
        for (int i = 0; i < 8; i++)
            length |= (uint64_t)r->length[i] << (8 * i);
        r->shared = r->finder.find && frame_is_shared(&length, &r->number);
        if (length > FRAME_MAX_HEADER || length > r->limit)
            return fail("%s: not a frame: a header of %" PRIu64 " bytes is longer than %zu",
                        r->where, length,
                        r->limit < FRAME_MAX_HEADER ? r->limit : (size_t)FRAME_MAX_HEADER);
        if (length < 2)
            return fail("%s: not a frame: a header of %" PRIu64 " bytes", r->where, length);
        r->part = PART_HEADER;
        r->header_length = (size_t)length;
        free(r->header);
        r->header = NULL;
        r->header_capacity = 0;
        r->have = 0;
        return grow_header(r);
    }
    if (r->part == PART_HEADER) {
        if (r->header_capacity < r->header_length)
            return grow_header(r);
        if (r->shared) {
            r->frame = frame_from_shared(r->header, r->header_length, r->limit, r->where,
                                         &r->finder, r->number);
            if (!r->frame)
                return -1;
            r->taken += (int64_t)r->frame->data_size;
            r->found += (int64_t)r->frame->data_size;
            return 1;
        }
        r->frame = frame_from_header(r->header, r->header_length, r->limit, r->where, &r->into);
        if (!r->frame)
            return -1;
        r->part = PART_DATA;
        r->have = 0;
        r->want = r->frame->data_size;
        return r->want ? 0 : 1;
    }
    return 1;
}

static int advance(struct frame_reader *r)
{
    const bool whole = r->part == PART_DATA;
    const int done = advance_part(r);
    if (done < 0 && !whole)
        tell_foreign(r);
    return done;
}

enum frame_reader_state frame_reader_step(struct frame_reader *r, int fd, struct frame **out)
{
    size_t ask = r->want - r->have;
    ssize_t n = read(fd, r->into + r->have, ask < ((size_t)1 << 30) ? ask : (size_t)1 << 30);
    if (n < 0) {
        if (errno == EAGAIN || (errno == EINTR && !stop_check()))
            return FRAME_READER_MORE;
        if (errno != EINTR)
            fail("%s: %s", r->where, strerror(errno));
        return FRAME_READER_FAILED;
    }
    if (n == 0) {
        if (r->part == PART_LENGTH && r->have == 0)
            return FRAME_READER_EOF;
        static const char *const parts[] = {"the header's length", "the header", "the data"};
        fail("%s: truncated in %s, at byte %zu of %zu", r->where, parts[r->part], r->have,
             r->part == PART_HEADER ? r->header_length : r->want);
        if (r->part == PART_HEADER)
            tell_foreign(r);
        return FRAME_READER_FAILED;
    }
    r->have += (size_t)n;
    r->taken += n;
    if (r->have < r->want)
        return FRAME_READER_MORE;
    int done = advance(r);
    if (done < 0)
        return FRAME_READER_FAILED;
    if (done == 0)
        return FRAME_READER_MORE;
    *out = r->shared ? r->frame : frame_finish(r->frame, r->where);
    r->frame = NULL;
    start(r);
    return *out ? FRAME_READER_FRAME : FRAME_READER_FAILED;
}

int write_all(int fd, const void *bytes, size_t size, const char *where)
{
    const unsigned char *b = bytes;
    while (size) {
        ssize_t n = write(fd, b, size);
        if (n < 0) {
            if (errno == EINTR) {
                if (stop_check())
                    return -1;
                continue;
            }
            if (errno == EPIPE)
                return fail("%s: its reader is gone", where);
            return fail("%s: %s", where, strerror(errno));
        }
        b += n;
        size -= (size_t)n;
    }
    return 0;
}

struct frame *frame_load(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fail_null("%s: %s", path, strerror(errno));
    }
    /* The file's size bounds what its header may ask for. */
    struct stat status;
    size_t limit = FRAME_DEFAULT_LIMIT;
    if (!fstat(fd, &status) && S_ISREG(status.st_mode) && (size_t)status.st_size > limit)
        limit = (size_t)status.st_size;
    struct frame *f = NULL;
    struct frame_reader *r = frame_reader_new(limit, path);
    enum frame_reader_state state = r ? FRAME_READER_MORE : FRAME_READER_FAILED;
    while (state == FRAME_READER_MORE)
        state = frame_reader_step(r, fd, &f);
    if (state == FRAME_READER_EOF)
        fail("%s: empty, where a frame was expected", path);
    if (state == FRAME_READER_FRAME) {
        char more;
        if (read(fd, &more, 1) != 0) {
            fail("%s: trailing bytes after the frame", path);
            frame_free(f);
            f = NULL;
        }
    }
    frame_reader_free(r);
    close(fd);
    return f;
}

int frame_save(struct frame *f, const char *path)
{
    const unsigned char *bytes;
    size_t size;
    struct atomic_file file;
    if (frame_seal(f, false, &bytes, &size) || atomic_file_open(&file, path))
        return -1;
    if (write_all(fileno(file.file), bytes, size, path)) {
        atomic_file_abandon(&file);
        return -1;
    }
    return atomic_file_commit(&file);
}
