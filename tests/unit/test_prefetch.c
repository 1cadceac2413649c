/* Tests prefetch: the order of frames, the bound, failures and early ends. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/signals.h"
#include "base/stop.h"
#include "views/prefetch.h"

enum { FRAME_BYTES = 1024 };

/* A maker of n frames of `bytes` bytes, each with its number in the first element, after which it
 * returns `last`. */
struct maker {
    int64_t n, bytes;
    enum prefetch_result last;
    atomic_int begun;
};

static enum prefetch_result make(void *user, const atomic_bool *stop, struct frame **out)
{
    (void)stop;
    struct maker *m = user;
    const int i = atomic_fetch_add(&m->begun, 1);
    if (i >= m->n) {
        if (m->last == PREFETCH_FAILED)
            (fail)("frame %d: %s", i, "no more");
        return m->last;
    }
    *out = frame_new(&(struct tensor_spec){"x", DTYPE_I64, 1, {m->bytes / 8}}, 1);
    if (!*out)
        return PREFETCH_FAILED;
    *(int64_t *)frame_find(*out, "x")->data = i;
    return PREFETCH_FRAME;
}

/* Returns the number of the next frame, or -1 for a failure, or -2 for the end. */
static int64_t next(struct prefetch *p)
{
    struct frame *f;
    const enum prefetch_result got = prefetch_next(p, &f);
    if (got != PREFETCH_FRAME)
        return got == PREFETCH_FAILED ? -1 : -2;
    const int64_t i = *(int64_t *)frame_find(f, "x")->data;
    frame_free(f);
    return i;
}

static void pause_a_little(void)
{
    poll(NULL, 0, 100);
}

static void order(void **state)
{
    (void)state;
    static const int64_t bounds[] = {0, 1, FRAME_BYTES, 3 * FRAME_BYTES, 1 << 30};
    for (size_t b = 0; b < sizeof bounds / sizeof *bounds; b++) {
        struct maker m = {.n = 1000, .bytes = FRAME_BYTES};
        struct prefetch *p = prefetch_start(make, &m, bounds[b]);
        assert_non_null(p);
        for (int64_t i = 0; i < m.n; i++)
            assert_int_equal(next(p), i);
        assert_int_equal(next(p), -2);
        assert_int_equal(next(p), -2);
        prefetch_stop(p);
        assert_int_equal(m.begun, m.n + 1);
    }
}

/* However slow the reader is, the thread must not begin more frames than the bound allows. */
static void bound(void **state)
{
    (void)state;
    static const struct {
        int64_t bytes;
        int frames;
    } cases[] = {{0, 1},
                 {FRAME_BYTES - 1, 1},
                 {FRAME_BYTES, 1},
                 {4 * FRAME_BYTES, 4},
                 {5 * FRAME_BYTES - 1, 4}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct maker m = {.n = 100, .bytes = FRAME_BYTES};
        struct prefetch *p = prefetch_start(make, &m, cases[c].bytes);
        assert_non_null(p);
        for (int taken = 0; taken < 3; taken++) {
            pause_a_little();
            assert_int_equal(m.begun, taken + cases[c].frames);
            assert_int_equal(next(p), taken);
        }
        for (int64_t i = 3; i < m.n; i++) {
            assert_int_equal(next(p), i);
            assert_true(m.begun <= i + 1 + cases[c].frames);
        }
        prefetch_stop(p);
    }
}

static void failure(void **state)
{
    (void)state;
    struct maker m = {.n = 3, .bytes = FRAME_BYTES, .last = PREFETCH_FAILED};
    struct prefetch *p = prefetch_start(make, &m, 1 << 30);
    assert_non_null(p);
    pause_a_little(); /* it has failed, but the frames before must come first */
    for (int64_t i = 0; i < m.n; i++)
        assert_int_equal(next(p), i);
    for (int i = 0; i < 2; i++) {
        (fail)("something else");
        assert_int_equal(next(p), -1);
        assert_string_equal(fail_message(), "frame 3: no more");
    }
    prefetch_stop(p);
    assert_string_equal(fail_message(), "frame 3: no more");
}

/* Stops a maker that has no room, one that makes frames, and one that has ended. */
static void early_end(void **state)
{
    (void)state;
    (fail)("as it was");
    for (int take = 0; take < 5; take++) {
        struct maker m = {.n = take < 4 ? 1000000 : 2, .bytes = FRAME_BYTES};
        struct prefetch *p = prefetch_start(make, &m, 4 * FRAME_BYTES);
        assert_non_null(p);
        for (int i = 0; i < take && i < m.n; i++)
            assert_int_equal(next(p), i);
        if (take % 2 == 0)
            pause_a_little();
        prefetch_stop(p);
        assert_string_equal(fail_message(), "as it was");
    }
    prefetch_stop(NULL);
}

/* Waits for input that does not come, as a source of frames may. */
static enum prefetch_result wait_for_input(void *user, const atomic_bool *stop, struct frame **out)
{
    (void)out;
    char byte;
    while (read(*(int *)user, &byte, 1) < 0)
        if (stop_check()) {
            if (!atomic_load(stop))
                (fail)("asked to stop, but the flag is not set");
            return PREFETCH_FAILED;
        }
    (fail)("there was input");
    return PREFETCH_FAILED;
}

static void a_maker_that_waits(void **state)
{
    (void)state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    for (int i = 0; i < 2; i++) {
        struct prefetch *p = prefetch_start(wait_for_input, ends, 0);
        assert_non_null(p);
        if (i)
            pause_a_little();
        const double since = clock_now();
        prefetch_stop(p);
        assert_true(clock_now() - since < 5);
    }
    assert_int_equal(stop_check(), 0); /* the flag belonged to the other thread */
    close(ends[0]);
    close(ends[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order),
        cmocka_unit_test(bound),
        cmocka_unit_test(failure),
        cmocka_unit_test(early_end),
        cmocka_unit_test(a_maker_that_waits),
    };
    signals_setup();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
