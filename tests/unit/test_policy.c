/* policy: parsing, the laws of what is drawn, and a whole view against torchvision. */
/* Before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/image.h"
#include "frame/frame_io.h"
#include "views/noise.h"
#include "views/policy.h"

/* Quantiles at 1 - 1e-5, of chi-square and of Kolmogorov and Smirnov's distance times sqrt(n); the
 * seeds are fixed. */
enum { DRAWS = 100000, CELLS = 20 };
static const double CHI2_19 = 58.2, CHI2_23 = 64.4, KS = 2.47;

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
    assert_int_equal(policy_parse(&p, "crop:0.2-1:0.5:0.5-2,solarize,solarize:0.3:0.7,cutout,"
                                      "cutout:0.4:0.1-0.6,rotate,noise,noise:1:0.2,sobel:1"),
                     0);
    assert_int_equal(p.n_ops, 9);
    assert_true(p.ops[0].p == 0.5 && p.ops[0].aspect_low == 0.5 && p.ops[0].aspect_high == 2);
    assert_true(p.ops[1].kind == OP_SOLARIZE && p.ops[1].p == 0.2 && p.ops[1].threshold == 0.5);
    assert_true(p.ops[2].p == 0.3 && p.ops[2].threshold == 0.7);
    assert_true(p.ops[3].kind == OP_CUTOUT && p.ops[3].p == 1);
    assert_true(p.ops[3].low == 0.5 && p.ops[3].high == 0.5);
    assert_true(p.ops[4].p == 0.4 && p.ops[4].low == 0.1 && p.ops[4].high == 0.6);
    assert_true(p.ops[5].kind == OP_ROTATE && p.ops[5].p == 0.75);
    assert_true(p.ops[6].kind == OP_NOISE && p.ops[6].p == 0.5);
    assert_true(p.ops[6].low == 0 && p.ops[6].high == 0.1);
    assert_true(p.ops[7].p == 1 && p.ops[7].low == 0.2 && p.ops[7].high == 0.2);
    assert_true(p.ops[8].kind == OP_SOBEL && p.ops[8].p == 1);
    assert_int_equal(policy_parse(&p, "simclr-cifar,solarize"), 0);
    assert_true(p.n_ops == 5 && p.ops[2].strength == 0.5 && p.ops[4].kind == OP_SOLARIZE);
    assert_int_equal(policy_parse(&p, "eval,sobel:1"), 0);
    assert_true(p.n_ops == 2 && policy_is_evaluation(&p));
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
        {"", "unknown operation '' (there are crop, center, flip, jitter, gray, blur, "
             "solarize, cutout, rotate, noise, sobel)"},
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
        {"crop:0.5:2", "crop: 2 is not between 0 and 1"},
        {"crop:0.5:1:0-2", "crop: 0 is not between 0.01 and 100"},
        {"crop:0.5:1:2-1", "crop: 2-1 runs backward"},
        {"crop:0.5:1:1-2:3", "crop: ':3' is one argument too many"},
        {"solarize:0.5:1.5", "solarize: 1.5 is not between 0 and 1"},
        {"solarize:0.5:0.2-0.4", "solarize: cannot make sense of '-0.4'"},
        {"cutout:1:0.5-2", "cutout: 2 is not between 0 and 1"},
        {"cutout:-1", "cutout: -1 is not between 0 and 1"},
        {"rotate:0.5:90", "rotate: ':90' is one argument too many"},
        {"noise:1:0.2-0.1", "noise: 0.2-0.1 runs backward"},
        {"noise:1:2", "noise: 2 is not between 0 and 1"},
        {"sobel:1:1", "sobel: ':1' is one argument too many"},
        {"simclr:0.5", "unknown operation 'simclr'"},
        {"flip,simclr", "crop has to come first"},
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
        if (view->ops[i].kind == (int)kind)
            return &view->ops[i];
    return NULL;
}

/* What was drawn of a number that should be uniform in [low,high). */
struct draws {
    double low, high;
    int n;
    double x[JITTER_COUNT * DRAWS];
};

static void begin(struct draws *d, double low, double high)
{
    d->low = low;
    d->high = high;
    d->n = 0;
}

static void add(struct draws *d, double x)
{
    assert_true(x >= d->low && x <= d->high);
    d->x[d->n++] = x;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Kolmogorov and Smirnov's test of u[n], which it sorts, being uniform in [0,1). */
static void assert_ks(double *u, int n)
{
    double distance = 0;
    qsort(u, (size_t)n, sizeof *u, compare);
    for (int i = 0; i < n; i++)
        distance = fmax(distance, fmax(u[i] - (double)i / n, (double)(i + 1) / n - u[i]));
    assert_true(n > 1000);
    assert_true(distance * sqrt(n) < KS);
}

static void assert_chi2(const int *cells, int n_cells, int n, double quantile)
{
    double sum = 0;
    for (int i = 0; i < n_cells; i++) {
        const double expected = (double)n / n_cells;
        sum += (cells[i] - expected) * (cells[i] - expected) / expected;
    }
    assert_true(sum < quantile);
}

static void assert_uniform(struct draws *d)
{
    int cells[CELLS] = {0};
    for (int i = 0; i < d->n; i++) {
        d->x[i] = (d->x[i] - d->low) / (d->high - d->low);
        const int cell = (int)(d->x[i] * CELLS);
        cells[cell < CELLS ? cell : CELLS - 1]++;
    }
    assert_chi2(cells, CELLS, d->n, CHI2_19);
    assert_ks(d->x, d->n);
}

static void assert_share(int hits, int n, double p)
{
    assert_true(fabs(hits - p * n) <= 4.5 * sqrt(p * (1 - p) * n));
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

static struct draws law[6];

/* Area and log aspect are uniform: shares up to 0.5 of a square always fit (0.5 x 4/3 < 1), so no
 * draw is rejected. The image is large, so that rounding to pixels does not show. */
static void crop_law(void **state)
{
    (void)state;
    enum { SIDE = 30000 };
    begin(&law[0], 0.07995, 0.50005);
    begin(&law[1], log(0.7498), log(1.3336));
    begin(&law[2], 0, 1);
    begin(&law[3], 0, 1);
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw("crop:0.08-0.5", SIDE, SIDE, 32, i);
        assert_int_equal(view.n_ops, 1);
        const struct box b = view.ops[0].box;
        assert_true(b.x >= 0 && b.y >= 0 && b.x + b.w <= SIDE && b.y + b.h <= SIDE);
        add(&law[0], (double)b.w * b.h / ((double)SIDE * SIDE));
        add(&law[1], log((double)b.w / b.h));
        add(&law[2], (b.x + 0.5) / (SIDE - b.w + 1));
        add(&law[3], (b.y + 0.5) / (SIDE - b.h + 1));
    }
    for (int i = 0; i < 4; i++)
        assert_uniform(&law[i]);
}

static void crop_arguments(void **state)
{
    (void)state;
    enum { SIDE = 30000 };
    int crops = 0;
    begin(&law[0], log(0.4999), log(2.0001));
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw("crop:0.1-0.4:0.3:0.5-2", SIDE, SIDE, 32, i);
        const struct box b = view.ops[0].box;
        if (b.w == SIDE && b.h == SIDE)
            continue;
        crops++;
        add(&law[0], log((double)b.w / b.h));
    }
    assert_share(crops, DRAWS, 0.3);
    assert_uniform(&law[0]);
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

static void shares(void **state)
{
    (void)state;
    static const double p[OP_COUNT] = {
        [OP_CROP] = 1,     [OP_FLIP] = 0.5,     [OP_JITTER] = 0.8, [OP_GRAY] = 0.2,
        [OP_BLUR] = 0.5,   [OP_SOLARIZE] = 0.3, [OP_CUTOUT] = 0.6, [OP_ROTATE] = 0.75,
        [OP_NOISE] = 0.45, [OP_SOBEL] = 0.1};
    int hits[OP_COUNT] = {0}, both[OP_COUNT] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw("crop,flip:0.5,jitter:0.8:0.5,gray:0.2,blur:0.5:0.1-2,"
                                      "solarize:0.3,cutout:0.6,rotate:0.75,noise:0.45,sobel:0.1",
                                      32, 32, 224, i);
        for (int kind = 0; kind < OP_COUNT; kind++) {
            hits[kind] += find(&view, (enum op_kind)kind) != NULL;
            both[kind] += find(&view, (enum op_kind)kind) && find(&view, OP_FLIP);
        }
    }
    for (int kind = 0; kind < OP_COUNT; kind++) {
        assert_share(hits[kind], DRAWS, p[kind]);
        if (kind != OP_FLIP)
            assert_share(both[kind], DRAWS, p[kind] * 0.5);
    }
}

static void jitter_law(void **state)
{
    (void)state;
    int orders[256] = {0}, cells[24], n_cells = 0;
    for (int k = 0; k < JITTER_COUNT; k++)
        begin(&law[k], k == JITTER_HUE ? -0.1 : 0.6, k == JITTER_HUE ? 0.1 : 1.4);
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw("jitter:1:0.5", 32, 32, 32, i);
        const struct applied *a = &view.ops[1];
        int seen = 0, order = 0;
        for (int k = 0; k < JITTER_COUNT; k++) {
            add(&law[k], (double)a->factors[k]);
            seen |= 1 << a->order[k];
            order = 4 * order + (int)a->order[k];
        }
        assert_int_equal(seen, 15);
        orders[order]++;
    }
    for (int i = 0; i < 256; i++)
        if (orders[i] && n_cells < 24)
            cells[n_cells++] = orders[i];
    assert_int_equal(n_cells, 24);
    assert_chi2(cells, 24, DRAWS, CHI2_23);
    for (int k = 0; k < JITTER_COUNT; k++)
        assert_uniform(&law[k]);
}

/* Strength above 1.25 would make factors negative: they stop at 0, as torchvision's do. */
static void strong_jitter(void **state)
{
    (void)state;
    begin(&law[0], 0, 2.6);
    begin(&law[1], -0.4, 0.4);
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw("jitter:1:2", 32, 32, 32, i);
        add(&law[0], (double)view.ops[1].factors[JITTER_CONTRAST]);
        add(&law[1], (double)view.ops[1].factors[JITTER_HUE]);
    }
    assert_uniform(&law[0]);
    assert_uniform(&law[1]);
}

static void sigma_law(void **state)
{
    (void)state;
    begin(&law[0], 0.1, 2);
    begin(&law[1], 0.05, 0.3);
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct view view = draw("blur:1:0.1-2,noise:1:0.05-0.3,solarize:1:0.7", 9, 9, 224, i);
        add(&law[0], (double)view.ops[1].sigma);
        add(&law[1], (double)view.ops[2].sigma);
        assert_int_equal(view.ops[1].kernel, 23);
        assert_true(view.ops[3].threshold == 0.7f);
    }
    assert_uniform(&law[0]);
    assert_uniform(&law[1]);
}

/* The view is huge, so that rounding to pixels does not show, and the square small beside it, so
 * that hardly one is cut off on two sides, which leaves its side unknown. */
static void cutout_law(void **state)
{
    (void)state;
    enum { SIZE = 10000000 };
    begin(&law[0], 0.01, 0.03);
    begin(&law[1], 0, 1);
    begin(&law[2], 0, 1);
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct box b = draw("cutout:1:0.01-0.03", 32, 32, SIZE, i).ops[1].box;
        const int side = b.w > b.h ? b.w : b.h;
        const int x = b.x ? b.x + side / 2 : b.x + b.w - (side - side / 2);
        const int y = b.y ? b.y + side / 2 : b.y + b.h - (side - side / 2);
        assert_true(b.x >= 0 && b.y >= 0 && b.x + b.w <= SIZE && b.y + b.h <= SIZE);
        const bool x_cut = b.x == 0 || b.x + b.w == SIZE, y_cut = b.y == 0 || b.y + b.h == SIZE;
        if (x_cut && y_cut)
            continue;
        assert_true((x_cut || b.w == side) && (y_cut || b.h == side));
        add(&law[0], (double)side / SIZE);
        add(&law[1], (x + 0.5) / SIZE);
        add(&law[2], (y + 0.5) / SIZE);
    }
    for (int i = 0; i < 3; i++)
        assert_uniform(&law[i]);
    const struct box all = draw("cutout:1:1", 32, 32, 1, 0).ops[1].box;
    const struct box least = draw("cutout:1:0", 32, 32, 1, 0).ops[1].box;
    assert_true(all.x == 0 && all.y == 0 && all.w == 1 && all.h == 1);
    assert_true(least.x == 0 && least.y == 0 && least.w == 1 && least.h == 1);
}

static void rotate_law(void **state)
{
    (void)state;
    int quarters[4] = {0};
    for (uint32_t i = 0; i < DRAWS; i++)
        quarters[draw("rotate:1", 32, 32, 32, i).ops[1].quarters]++;
    for (int i = 0; i < 4; i++)
        assert_share(quarters[i], DRAWS, i ? 1 / 3.0 : 0);
}

/* Each noise of each view has a stream of its own, of purpose RANDOM_PIXELS. */
static void noise_streams(void **state)
{
    (void)state;
    struct policy p;
    struct view view;
    struct random r, pixels;
    assert_int_equal(policy_parse(&p, "noise:1,flip,noise:1"), 0);
    random_start(&r, 5, RANDOM_VIEW, 6, 7, 1);
    random_start(&pixels, 5, RANDOM_PIXELS, 6, 7, 1);
    view_draw(&view, &p, 32, 32, 32, &r);
    for (int i = 0; i < view.n_ops; i++) {
        const struct applied *a = &view.ops[i];
        if (a->kind != OP_NOISE)
            continue;
        assert_memory_equal(a->key, pixels.key, sizeof a->key);
        assert_memory_equal(a->counter + 1, pixels.counter + 1, 3 * sizeof *a->counter);
        assert_int_equal(a->counter[0], i == 1 ? 1U << 28 : 3U << 28);
    }
}

/* Normal in each channel, and no channel tells of another. */
static void noise_law(void **state)
{
    (void)state;
    const uint32_t counter[4] = {0, 1, 2, RANDOM_PIXELS << 24}, key[2] = {3, 0};
    float *rgb = malloc(3 * DRAWS * sizeof *rgb);
    for (int i = 0; i < 3 * DRAWS; i++)
        rgb[i] = 0.5f;
    noise_add(rgb, DRAWS, 0.05f, counter, key);
    double products[3] = {0};
    for (int i = 0; i < DRAWS; i++)
        for (int c = 0; c < 3; c++)
            products[c] += ((double)rgb[c * DRAWS + i] - 0.5) / 0.05 *
                           ((double)rgb[(c + 1) % 3 * DRAWS + i] - 0.5) / 0.05;
    for (int c = 0; c < 3; c++) {
        for (int i = 0; i < DRAWS; i++)
            law[0].x[i] = 0.5 * erfc(-((double)rgb[c * DRAWS + i] - 0.5) / 0.05 * M_SQRT1_2);
        assert_ks(law[0].x, DRAWS);
        assert_true(fabs(products[c]) < 4.5 * sqrt(DRAWS));
    }
    free(rgb);
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
    assert_int_equal(
        view_apply(&view, &(struct scaled_image){input->data, SIDE, SIDE, 1}, SIDE, &memory, out),
        0);
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
    const char *ops = "crop,flip:1,jitter:1:1,gray:0,blur:1:1-2,solarize:1,cutout:1:0.3,rotate:1,"
                      "noise:1,sobel:1";
    const struct view on_big = draw(ops, BIG, BIG, SIZE, 4);
    const struct view on_small = draw(ops, SMALL, SMALL, SIZE, 4);
    assert_int_equal(
        view_apply(&on_small, &(struct scaled_image){small, SMALL, SMALL, 1}, SIZE, &fresh, once),
        0);
    assert_int_equal(
        view_apply(&on_big, &(struct scaled_image){big, BIG, BIG, 1}, SIZE, &used, again), 0);
    assert_memory_not_equal(once, again, sizeof once);
    assert_int_equal(
        view_apply(&on_small, &(struct scaled_image){small, SMALL, SMALL, 1}, SIZE, &used, again),
        0);
    assert_memory_equal(once, again, sizeof once);
    view_memory_free(&fresh);
    view_memory_free(&used);
    free(big);
}

static uint8_t smooth(double x, double y, int c)
{
    return (uint8_t)lrint(128 + 60 * sin(x / 15 + c) + 60 * cos(y / 20 - c));
}

/* pixels (ceil(height/d),ceil(width/d),3): a smooth picture's, at the middle of each of d x d. */
static void paint(uint8_t *pixels, int width, int height, int d)
{
    for (int y = 0; y < (height + d - 1) / d; y++)
        for (int x = 0; x < (width + d - 1) / d; x++)
            for (int c = 0; c < 3; c++)
                *pixels++ = smooth((x + 0.5) * d, (y + 0.5) * d, c);
}

/* Boxes are in pixels of the whole image, whatever the scale at which it is there. */
static void reduced_scales(void **state)
{
    (void)state;
    enum { WIDTH = 301, HEIGHT = 203, SIZE = 20 };
    const struct view view = {.ops = {{.kind = OP_CROP, .box = {41, 23, 197, 161}}}, .n_ops = 1};
    assert_true(view_scale_needed(&view, SIZE) == SIZE / 161.0);
    assert_true(view_scale_needed(&view, 322) == 2);
    struct view_memory memory = {0};
    uint8_t *pixels = malloc(3 * WIDTH * HEIGHT), whole[3 * SIZE * SIZE], reduced[3 * SIZE * SIZE];
    for (int d = 1; d <= 8; d *= 2) {
        paint(pixels, WIDTH, HEIGHT, d);
        const struct scaled_image image = {pixels, WIDTH, HEIGHT, d};
        assert_int_equal(view_apply(&view, &image, SIZE, &memory, d == 1 ? whole : reduced), 0);
        for (size_t i = 0; d > 1 && i < sizeof whole; i++)
            assert_true(abs(whole[i] - reduced[i]) <= 2);
    }
    view_memory_free(&memory);
    free(pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing),        cmocka_unit_test(wrong_lists),
        cmocka_unit_test(crop_law),       cmocka_unit_test(crop_arguments),
        cmocka_unit_test(crop_fallback),  cmocka_unit_test(centers),
        cmocka_unit_test(shares),         cmocka_unit_test(jitter_law),
        cmocka_unit_test(strong_jitter),  cmocka_unit_test(sigma_law),
        cmocka_unit_test(cutout_law),     cmocka_unit_test(rotate_law),
        cmocka_unit_test(noise_streams),  cmocka_unit_test(noise_law),
        cmocka_unit_test(whole_view),     cmocka_unit_test(memory_reuse),
        cmocka_unit_test(reduced_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
