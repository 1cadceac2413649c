/* policy: parsing, the laws of what is drawn, and a whole view against torchvision. */
/* Before cmocka.h, which makes fail a macro. */
#include "fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "frame_io.h"
#include "policy.h"

enum { DRAWS = 40000, CELLS = 20 };
static const double CHI2_19 = 58.2; /* quantile at 1 - 1e-5 for CELLS - 1; the seeds are fixed */

static void parsing(void **state)
{
    (void)state;
    struct policy p;
    assert_int_equal(policy_parse(&p, "crop:0.2-0.5,flip:0.25,jitter:0.7:0.5,gray,blur:1:0.5"), 0);
    assert_int_equal(p.n_ops, 5);
    assert_int_equal(p.ops[0].kind, OP_CROP);
    assert_true(p.ops[0].low == 0.2 && p.ops[0].high == 0.5 && p.ops[0].p == 1);
    assert_true(p.ops[1].kind == OP_FLIP && p.ops[1].p == 0.25);
    assert_true(p.ops[2].kind == OP_JITTER && p.ops[2].p == 0.7 && p.ops[2].strength == 0.5);
    assert_true(p.ops[3].kind == OP_GRAY && p.ops[3].p == 0.2);
    assert_true(p.ops[4].kind == OP_BLUR && p.ops[4].p == 1);
    assert_true(p.ops[4].low == 0.5 && p.ops[4].high == 0.5);
    assert_false(policy_is_evaluation(&p));
    assert_int_equal(policy_parse(&p, "center,flip:1"), 0);
    assert_true(policy_is_evaluation(&p));
    assert_int_equal(policy_parse(&p, "flip:1"), 0); /* begins with the whole image */
    assert_true(p.n_ops == 2 && p.ops[0].kind == OP_CROP);
    static const char *const names[] = {"simclr", "simclr-cifar", "eval"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(policy_parse(&p, policy_ops(names[i])), 0);
    assert_null(policy_ops("nothing"));
}

static void wrong_lists(void **state)
{
    (void)state;
    static const struct {
        const char *ops, *message;
    } cases[] = {
        {"", "unknown operation '' (there are crop, center, flip, jitter, gray, blur)"},
        {"crop,frobnicate:3", "unknown operation 'frobnicate' (there are "},
        {"cro", "unknown operation 'cro'"},
        {"crop,", "unknown operation ''"},
        {"crop:0-1", "crop: 0 is not between"},
        {"crop:0.5-0.2", "crop: 0.5-0.2 runs backward"},
        {"crop:0.5-1.5", "crop: 1.5 is not between"},
        {"crop:nan-1", "crop: nan is not between"},
        {"flip:1.1", "flip: 1.1 is not between 0 and 1"},
        {"flip:", "flip: '' is not a number"},
        {"flip:0.5x", "flip: cannot make sense of 'x'"},
        {"flip:0.5:3", "flip: ':3' is one argument too many"},
        {"jitter:0.5:1:2", "jitter: ':2' is one argument too many"},
        {"jitter:0.5:3", "jitter: 3 is not between 0 and 2.5"},
        {"blur:0.5:0-2", "blur: 0 is not between"},
        {"flip,crop", "crop has to come first"},
        {"crop,center", "center has to come first"},
        {"flip,flip,flip,flip,flip,flip,flip,flip,flip,flip,flip,flip,flip,flip,flip,flip",
         "more than 16 operations"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct policy p;
        assert_int_equal(policy_parse(&p, cases[i].ops), -1);
        if (!strstr(fail_message(), cases[i].message))
            fail_msg("'%s': %s", cases[i].ops, fail_message());
    }
}

static const struct applied *find(const struct view *view, enum op_kind kind)
{
    for (int i = 0; i < view->n_ops; i++)
        if (view->ops[i].kind == kind)
            return &view->ops[i];
    return NULL;
}

/* Counts x of [low,high) in CELLS cells. */
struct histogram {
    double low, high;
    int cells[CELLS], n;
};

static void count(struct histogram *h, double x)
{
    assert_true(x >= h->low && x <= h->high);
    int cell = (int)((x - h->low) / (h->high - h->low) * CELLS);
    h->cells[cell < CELLS ? cell : CELLS - 1]++;
    h->n++;
}

static void assert_flat(const struct histogram *h)
{
    double sum = 0;
    for (int i = 0; i < CELLS; i++) {
        const double expected = (double)h->n / CELLS;
        sum += (h->cells[i] - expected) * (h->cells[i] - expected) / expected;
    }
    assert_true(h->n > 1000);
    assert_true(sum < CHI2_19);
}

static void assert_share(int hits, int n, double p)
{
    assert_true(fabs(hits - p * n) < 4.5 * sqrt(p * (1 - p) * n));
}

static struct view draw(const char *ops, int width, int height, int size, uint32_t number)
{
    struct policy p;
    struct view view;
    struct random r;
    assert_int_equal(policy_parse(&p, ops), 0);
    random_start(&r, 11, RANDOM_VIEW, 0, number, 0);
    view_draw(&view, &p, width, height, size, &r);
    return view;
}

/* Area and log aspect are uniform: shares up to 0.5 of a square always fit (0.5 x 4/3 < 1), so no
 * draw is rejected. The image is large, so that rounding to pixels does not show. */
static void crop_law(void **state)
{
    (void)state;
    enum { SIDE = 30000 };
    struct histogram area = {.low = 0.07995, .high = 0.50005};
    struct histogram ratio = {.low = log(0.7498), .high = log(1.3336)};
    struct histogram x = {.low = 0, .high = 1}, y = x;
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw("crop:0.08-0.5", SIDE, SIDE, 32, i);
        assert_int_equal(view.n_ops, 1);
        const struct box b = view.ops[0].box;
        assert_true(b.x >= 0 && b.y >= 0 && b.x + b.w <= SIDE && b.y + b.h <= SIDE);
        count(&area, (double)b.w * b.h / ((double)SIDE * SIDE));
        count(&ratio, log((double)b.w / b.h));
        count(&x, (b.x + 0.5) / (SIDE - b.w + 1));
        count(&y, (b.y + 0.5) / (SIDE - b.h + 1));
    }
    assert_flat(&area);
    assert_flat(&ratio);
    assert_flat(&x);
    assert_flat(&y);
}

/* Images in which hardly any box fits take the central one, as torchvision does. */
static void crop_fallback(void **state)
{
    (void)state;
    struct box b = draw("crop:1-1", 1000, 10, 32, 1).ops[0].box;
    assert_true(b.x == 493 && b.y == 0 && b.w == 13 && b.h == 10);
    b = draw("crop:1-1", 10, 1000, 32, 1).ops[0].box;
    assert_true(b.x == 0 && b.y == 493 && b.w == 10 && b.h == 13);
    b = draw("crop:0.08-1", 1, 1, 32, 1).ops[0].box;
    assert_true(b.x == 0 && b.y == 0 && b.w == 1 && b.h == 1);
    b = draw("flip:1", 40, 30, 32, 1).ops[0].box;
    assert_true(b.x == 0 && b.y == 0 && b.w == 40 && b.h == 30);
}

static void centers(void **state)
{
    (void)state;
    struct box b = draw("center", 500, 375, 224, 1).ops[0].box;
    assert_true(b.x == 86 && b.y == 23 && b.w == 328 && b.h == 328);
    b = draw("center", 32, 32, 32, 1).ops[0].box;
    assert_true(b.x == 0 && b.y == 0 && b.w == 32 && b.h == 32);
    b = draw("center", 1, 1, 224, 1).ops[0].box;
    assert_true(b.x == 0 && b.y == 0 && b.w == 1 && b.h == 1);
}

static void other_laws(void **state)
{
    (void)state;
    struct histogram factor[JITTER_COUNT] = {{.low = 0.6, .high = 1.4},
                                             {.low = 0.6, .high = 1.4},
                                             {.low = 0.6, .high = 1.4},
                                             {.low = -0.1, .high = 0.1}};
    struct histogram sigma = {.low = 0.1, .high = 2};
    int flips = 0, jitters = 0, grays = 0, blurs = 0, first[JITTER_COUNT] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view =
            draw("crop,flip:0.5,jitter:0.8:0.5,gray:0.2,blur:0.5:0.1-2", 32, 32, 224, i);
        flips += find(&view, OP_FLIP) != NULL;
        grays += find(&view, OP_GRAY) != NULL;
        const struct applied *blur = find(&view, OP_BLUR), *jitter = find(&view, OP_JITTER);
        if (blur) {
            blurs++;
            count(&sigma, (double)blur->sigma);
            assert_int_equal(blur->kernel, 23);
        }
        if (jitter) {
            jitters++;
            first[jitter->order[0]]++;
            int seen = 0;
            for (int k = 0; k < JITTER_COUNT; k++) {
                count(&factor[k], (double)jitter->factors[k]);
                seen |= 1 << jitter->order[k];
            }
            assert_int_equal(seen, 15);
        }
    }
    assert_share(flips, DRAWS, 0.5);
    assert_share(jitters, DRAWS, 0.8);
    assert_share(grays, DRAWS, 0.2);
    assert_share(blurs, DRAWS, 0.5);
    for (int k = 0; k < JITTER_COUNT; k++) {
        assert_flat(&factor[k]);
        assert_share(first[k], jitters, 0.25);
    }
    assert_flat(&sigma);
}

/* Strength above 1.25 would make factors negative: they stop at 0, as torchvision's do. */
static void strong_jitter(void **state)
{
    (void)state;
    struct histogram factor = {.low = 0, .high = 2.6}, hue = {.low = -0.4, .high = 0.4};
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw("jitter:1:2", 32, 32, 32, i);
        count(&factor, (double)view.ops[1].factors[JITTER_CONTRAST]);
        count(&hue, (double)view.ops[1].factors[JITTER_HUE]);
    }
    assert_flat(&factor);
    assert_flat(&hue);
}

static void whole_view(void **state)
{
    (void)state;
    struct frame *golden = frame_load("tests/golden/augment.safetensors");
    assert_non_null(golden);
    const struct tensor *input = frame_find(golden, "chain_input");
    const float *expected = frame_find(golden, "chain")->data;
    enum { SIDE = 30 };
    assert_int_equal(input->shape[0], SIDE);
    const struct view view = {
        .ops = {{.kind = OP_CROP, .box = {0, 0, SIDE, SIDE}},
                {.kind = OP_FLIP},
                {.kind = OP_JITTER,
                 .factors = {1.2f, 1.4f, 0.6f, 0.1f},
                 .order = {JITTER_HUE, JITTER_CONTRAST, JITTER_SATURATION, JITTER_BRIGHTNESS}},
                {.kind = OP_BLUR, .sigma = 0.8f, .kernel = 3}},
        .n_ops = 4,
    };
    struct view_memory memory = {0};
    uint8_t out[SIDE * SIDE * 3];
    assert_int_equal(view_apply(&view, input->data, SIDE, SIDE, SIDE, &memory, out), 0);
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int c = 0; c < 3; c++) {
            const double exact = 255 * (double)expected[c * SIDE * SIDE + i];
            assert_true(fabs(out[3 * i + c] - exact) <= 0.5 + 1e-3);
        }
    view_memory_free(&memory);
    frame_free(golden);
}

/* The same bytes from memory that served another image before, and from fresh memory. */
static void memory_reuse(void **state)
{
    (void)state;
    enum { BIG = 200, SMALL = 20, SIZE = 40 };
    uint8_t *big = malloc(BIG * BIG * 3), small[SMALL * SMALL * 3];
    for (int i = 0; i < BIG * BIG * 3; i++)
        big[i] = (uint8_t)(i * 31);
    memcpy(small, big, sizeof small);
    uint8_t once[SIZE * SIZE * 3], again[SIZE * SIZE * 3];
    struct view_memory fresh = {0}, used = {0};
    const char *ops = "crop,flip:1,jitter:1:1,gray:0,blur:1:1-2";
    const struct view on_big = draw(ops, BIG, BIG, SIZE, 4);
    const struct view on_small = draw(ops, SMALL, SMALL, SIZE, 4);
    assert_int_equal(view_apply(&on_small, small, SMALL, SMALL, SIZE, &fresh, once), 0);
    assert_int_equal(view_apply(&on_big, big, BIG, BIG, SIZE, &used, again), 0);
    assert_memory_not_equal(once, again, sizeof once);
    assert_int_equal(view_apply(&on_small, small, SMALL, SMALL, SIZE, &used, again), 0);
    assert_memory_equal(once, again, sizeof once);
    view_memory_free(&fresh);
    view_memory_free(&used);
    free(big);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing),       cmocka_unit_test(wrong_lists),
        cmocka_unit_test(crop_law),      cmocka_unit_test(crop_fallback),
        cmocka_unit_test(centers),       cmocka_unit_test(other_laws),
        cmocka_unit_test(strong_jitter), cmocka_unit_test(whole_view),
        cmocka_unit_test(memory_reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
