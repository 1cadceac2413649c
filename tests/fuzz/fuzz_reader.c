/* Fuzzes a stream that arrives in pieces. Whatever the pieces are, the same frames must result, and
 * the same failure. The first part of the input decides how large the pieces are. */
#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/fail.h"
#include "frame/frame_io.h"
#include "input.h"

/* Shared memory that both readers find, so that frames without data are read as well. */
static _Alignas(64) unsigned char bytes_shared[1 << 12];

static void release(struct frame_memory *m)
{
    free(m);
}

static struct frame_memory *find(void *user, uint32_t number, size_t size)
{
    assert(!user);
    if (number > 0xff || size > sizeof bytes_shared)
        return fail_null("no such memory");
    struct frame_memory *m = malloc(sizeof *m);
    assert(m);
    *m = (struct frame_memory){bytes_shared, sizeof bytes_shared, number, release};
    return m;
}

/* Takes the next frame and compares it with that of the whole stream, or compares the failures if
 * the whole stream is at its end as well. */
static void compare(enum frame_reader_state state, struct frame *f, struct frame_reader *whole,
                    int fd)
{
    struct frame *other = NULL;
    char *message = strdup(fail_message());
    enum frame_reader_state same;
    while ((same = frame_reader_step(whole, fd, &other)) == FRAME_READER_MORE)
        ;
    assert(same == state);
    if (state == FRAME_READER_FAILED)
        assert(!strcmp(message, fail_message()));
    if (state == FRAME_READER_FRAME) {
        const unsigned char *a, *b;
        size_t m, n;
        look_at_frame(f);
        assert(!frame_seal(f, false, &a, &m) && !frame_seal(other, false, &b, &n));
        assert(m == n && !memcmp(a, b, m));
        frame_free(other);
    }
    free(message);
    frame_free(f);
}

/* Steps until the pipe is empty, or to the end if the pipe is closed. Returns false when there is
 * no more. */
static bool drain(struct frame_reader *r, int pipe, bool closed, struct frame_reader *whole, int fd)
{
    int waiting;
    while (!ioctl(pipe, FIONREAD, &waiting) && (waiting || closed)) {
        struct frame *f = NULL;
        enum frame_reader_state state = frame_reader_step(r, pipe, &f);
        if (state == FRAME_READER_MORE)
            continue;
        compare(state, f, whole, fd);
        if (state != FRAME_READER_FRAME)
            return false;
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct input rest = {bytes, size}, cuts;
    if (!input_part(&rest, &cuts))
        return 0;
    int whole = input_stream(rest), ends[2];
    uint8_t piece[256];
    struct frame_reader *a = frame_reader_new(INPUT_MAX_FRAME, "it"),
                        *b = frame_reader_new(INPUT_MAX_FRAME, "it");
    frame_reader_share(a, &(struct frame_finder){find, NULL});
    frame_reader_share(b, &(struct frame_finder){find, NULL});
    assert(a && b && !pipe2(ends, O_CLOEXEC | O_NONBLOCK));
    bool more = true;
    for (off_t at = 0; more;) {
        ssize_t n = pread(whole, piece, cuts.size ? 1u + input_byte(&cuts) : sizeof piece, at);
        if (n <= 0)
            break;
        assert(write(ends[1], piece, (size_t)n) == n);
        at += n;
        more = drain(a, ends[0], false, b, whole);
    }
    close(ends[1]);
    if (more)
        drain(a, ends[0], true, b, whole);
    close(ends[0]);
    close(whole);
    frame_reader_free(a);
    frame_reader_free(b);
    return 0;
}
