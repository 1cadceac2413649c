/* Tests sampler: which image is in which row of a batch, on which rank. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "data/sampler.h"

static int init(struct sampler *b)
{
    return sampler_check(b) ? -1 : sampler_init(b);
}

static void training(void **state)
{
    (void)state;
    struct sampler b = {.images = 103, .batch = 20, .epochs = 3, .seed = 1, .world = 1};
    assert_int_equal(init(&b), 0);
    assert_int_equal(b.steps_per_epoch, 5);
    assert_int_equal(b.steps, 15);
    assert_int_equal(b.grains, 4);
    int64_t order[3][100];
    for (int64_t step = 0; step < 15; step++) {
        struct batch batch;
        sampler_get(&b, step, &batch);
        assert_int_equal(batch.rows, 20);
        assert_int_equal(batch.first, 0);
        assert_int_equal(batch.count, 20);
        assert_int_equal(batch.epoch, step / 5);
        for (int64_t i = 0; i < 20; i++)
            order[step / 5][step % 5 * 20 + i] = sampler_image(&b, batch.start + batch.first + i);
    }
    for (int epoch = 0; epoch < 3; epoch++) {
        bool seen[103] = {false};
        for (int i = 0; i < 100; i++) {
            assert_in_range(order[epoch][i], 0, 102);
            assert_false(seen[order[epoch][i]]);
            seen[order[epoch][i]] = true;
        }
    }
    assert_memory_not_equal(order[0], order[1], sizeof order[0]);
    assert_memory_not_equal(order[1], order[2], sizeof order[0]);
    /* Go backward and across epochs: the batch of a step must not depend on the steps before it. */
    for (int64_t step = 14; step >= 0; step -= 3) {
        struct batch batch;
        sampler_get(&b, step, &batch);
        for (int64_t i = 0; i < 20; i++)
            assert_int_equal(sampler_image(&b, batch.start + batch.first + i),
                             order[step / 5][step % 5 * 20 + i]);
    }
    sampler_free(&b);
    b.seed = 2;
    assert_int_equal(sampler_init(&b), 0);
    struct batch batch;
    sampler_get(&b, 0, &batch);
    int same = 0;
    for (int64_t i = 0; i < 20; i++)
        same += sampler_image(&b, batch.start + batch.first + i) == order[0][i];
    assert_true(same < 5);
    sampler_free(&b);
}

static void evaluation(void **state)
{
    (void)state;
    struct sampler b = {.images = 103, .batch = 32, .epochs = 1, .world = 1, .evaluation = true};
    assert_int_equal(init(&b), 0);
    assert_int_equal(b.steps, 4);
    assert_int_equal(b.grains, 8);
    int64_t next = 0;
    for (int64_t step = 0; step < 4; step++) {
        struct batch batch;
        sampler_get(&b, step, &batch);
        assert_int_equal(batch.rows, step < 3 ? 32 : 7);
        assert_int_equal(batch.grains, step < 3 ? 8 : 1);
        for (int64_t i = 0; i < batch.count; i++)
            assert_int_equal(sampler_image(&b, batch.start + batch.first + i), next++);
    }
    assert_int_equal(next, 103);
    sampler_free(&b);
}

/* The rows of the ranks must follow one another, cover the batch, and be whole grains if the number
 * of ranks divides that of grains. */
static void shards(void **state)
{
    (void)state;
    for (int64_t world = 1; world <= 40; world++) {
        int64_t next = 0;
        for (int64_t rank = 0; rank < world; rank++) {
            struct sampler b = {
                .images = 200, .batch = 48, .steps = 1, .rank = rank, .world = world, .grains = 16};
            assert_int_equal(init(&b), 0);
            struct batch batch;
            sampler_get(&b, 0, &batch);
            assert_int_equal(batch.first, next);
            assert_in_range(batch.count, 48 / world, 48 / world + (48 % world != 0));
            if (16 % world == 0)
                assert_int_equal(batch.first % 3, 0);
            next += batch.count;
            sampler_free(&b);
        }
        assert_int_equal(next, 48);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        struct sampler b;
        const char *message;
    } cases[] = {
        {{.images = 10, .batch = 12, .epochs = 1, .world = 1},
         "10 images are too few for a batch of 12"},
        {{.images = 10, .batch = 6, .epochs = 1, .world = 1, .grains = 3}, "not a power of two"},
        {{.images = 10, .batch = 6, .epochs = 1, .world = 1, .grains = 4},
         "4 grains do not divide a batch of 6"},
        {{.images = 10, .batch = 4, .epochs = 1, .world = 5},
         "a batch of 4 cannot be cut for 5 ranks"},
        {{.images = 10, .batch = 1, .epochs = INT64_MAX, .world = 1}, "epochs"},
        {{.images = 10, .batch = 10, .steps = 1LL << 40, .world = 1}, "epochs"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct sampler b = cases[i].b;
        assert_int_equal(init(&b), -1);
        if (!strstr(fail_message(), cases[i].message))
            fail_msg("%s", fail_message());
        sampler_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(training),
        cmocka_unit_test(evaluation),
        cmocka_unit_test(shards),
        cmocka_unit_test(refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
