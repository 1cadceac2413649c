/* Tests step_gate: which requests wait, and when a step is complete. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <string.h>

#include "base/fail.h"
#include "program/step_gate.h"

#include <cmocka.h> /* comes last because it defines a macro fail */

/* Adds a client that joined at a step and owes that many gradients. */
static void join(struct step_gate *g, int client, int owes, int64_t step)
{
    struct step_gate_client *c = step_gate_client(g, client);
    assert_non_null(c);
    c->joined = true;
    c->owes = owes;
    c->step = step;
}

static void put(struct step_gate *g, int client, int64_t step)
{
    struct frame *f = frame_new(NULL, 0);
    assert_non_null(f);
    assert_int_equal(step_gate_put(g, client, step, f), 0);
}

/* Takes the next request, asserts that it is the one of that client and step, and counts n
 * gradients. */
static void expect(struct step_gate *g, int client, int64_t step, int n)
{
    struct step_gate_request r;
    assert_int_equal(step_gate_take(g, &r), STEP_GATE_READY);
    assert_int_equal(r.client, client);
    assert_true(r.step == step);
    step_gate_count(g, client, step, n);
    frame_free(r.frame);
}

static void expect_none(struct step_gate *g)
{
    struct step_gate_request r;
    assert_int_equal(step_gate_take(g, &r), STEP_GATE_WAITING);
}

static void test_one_step_ahead_waits(void **state)
{
    (void)state;
    struct step_gate *g = step_gate_new();
    assert_true(step_gate_under_way(g) == INT64_MAX);
    join(g, 0, 2, 5);
    join(g, 1, 1, 5);
    put(g, 0, 5);
    expect(g, 0, 5, 2);
    assert_true(step_gate_under_way(g) == 5); /* client 1 has not begun the step */
    put(g, 0, 6);
    assert_true(step_gate_holds(g));
    expect_none(g);
    put(g, 1, 5); /* comes later and is answered first */
    expect(g, 1, 5, 1);
    assert_true(step_gate_under_way(g) == 6);
    expect(g, 0, 6, 1);
    assert_false(step_gate_holds(g));
    put(g, 1, 6);
    expect(g, 1, 6, 1);
    put(g, 1, 7);
    expect_none(g); /* client 0 owes another gradient of step 6 */
    put(g, 0, 6);
    expect(g, 0, 6, 1);
    expect(g, 1, 7, 1);
    step_gate_free(g);
}

static void test_order_of_one_client(void **state)
{
    (void)state;
    struct step_gate *g = step_gate_new();
    join(g, 0, 1, 0);
    join(g, 1, 1, 0);
    put(g, 0, 0);
    expect(g, 0, 0, 1);
    put(g, 0, 1);
    put(g, 0, STEP_GATE_NO_STEP); /* a join, which waits for the request before it */
    expect_none(g);
    put(g, 1, STEP_GATE_NO_STEP);
    struct step_gate_request r;
    assert_int_equal(step_gate_take(g, &r), STEP_GATE_READY);
    assert_int_equal(r.client, 1);
    frame_free(r.frame);
    expect_none(g);
    step_gate_free(g); /* two requests are still in it */
}

static void test_who_is_not_waited_for(void **state)
{
    (void)state;
    struct step_gate *g = step_gate_new();
    join(g, 0, 1, 3);
    join(g, 1, 1, 3);
    join(g, 2, 0, 0); /* this client owes nothing */
    put(g, 0, 3);
    expect(g, 0, 3, 1);
    put(g, 0, 4);
    expect_none(g);
    step_gate_client(g, 1)->ended = true;
    expect(g, 0, 4, 1);
    assert_true(step_gate_under_way(g) == 5);
    /* Two clients that leave out gradients of a step and go on to the next must not make others
     * wait. */
    join(g, 1, 2, 5);
    put(g, 1, 5);
    assert_false(step_gate_client(g, 1)->ended);
    expect(g, 1, 5, 1);
    step_gate_client(g, 0)->owes = 2;
    put(g, 0, 5);
    expect(g, 0, 5, 1);
    put(g, 0, 6);
    put(g, 1, 6);
    expect(g, 0, 6, 1);
    expect(g, 1, 6, 1);
    step_gate_free(g);
}

static void test_two_steps_ahead_fail(void **state)
{
    (void)state;
    struct step_gate *g = step_gate_new();
    join(g, 0, 1, 0);
    join(g, 1, 1, 0);
    put(g, 0, 2);
    struct step_gate_request r;
    assert_int_equal(step_gate_take(g, &r), STEP_GATE_FAILED);
    assert_string_equal(fail_message(), "client 0 sent step 2, where step 0 is under way");
    step_gate_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_step_ahead_waits),
        cmocka_unit_test(test_order_of_one_client),
        cmocka_unit_test(test_who_is_not_waited_for),
        cmocka_unit_test(test_two_steps_ahead_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
