/* Tests policy: parsing, the distribution of what is drawn, and a whole view against
 * torchvision. */
/* This header comes before cmocka.h, which makes fail a macro. */
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
#include "views/policy.h"
#include "views/view.h"

#include "drawn.h"

/* Quantiles at 1 - 1e-5 of chi-square and of Kolmogorov and Smirnov's distance times sqrt(n). The
 * seeds are fixed. */
enum { DRAWS = 100000, CELLS = 20, STEPS = 4 /* steps of jitter */ };
static const char *const steps[STEPS] = {"brightness", "contrast", "saturation", "hue"};
static const double CHI2_19 = 58.2, CHI2_23 = 64.4, KS = 2.47;

static void parse(struct policy *p, const char *ops)
{
    if (policy_parse(p, &operations_on_images, ops))
        fail_msg("%s: %s", ops, fail_message());
}

static void assert_use(const struct operation_use *use, const char *name, double p)
{
    assert_string_equal(use->operation->name, name);
    assert_true(use->p == p);
}

static void assert_value(const struct operation_use *use, int parameter, double low, double high)
{
    assert_true(use->values[parameter].low == low && use->values[parameter].high == high);
}

static void parsing(void **state)
{
    (void)state;
    struct policy p;
    parse(&p, "crop:0.2-0.5,flip:0.25,jitter:0.7:0.5,gray,blur:1:0.5");
    assert_int_equal(p.n_ops, 5);
    assert_use(&p.ops[0], "crop", 1);
    assert_value(&p.ops[0], 0, 0.2, 0.5);
    assert_use(&p.ops[1], "flip", 0.25);
    assert_use(&p.ops[2], "jitter", 0.7);
    assert_value(&p.ops[2], 1, 0.5, 0.5);
    assert_use(&p.ops[3], "gray", 0.2);
    assert_use(&p.ops[4], "blur", 1);
    assert_value(&p.ops[4], 1, 0.5, 0.5);
    assert_false(policy_is_evaluation(&p));
    parse(&p, "center,flip:1");
    assert_true(policy_is_evaluation(&p));
    parse(&p, "flip:1"); /* begins with the whole image */
    assert_int_equal(p.n_ops, 2);
    assert_use(&p.ops[0], "crop", 0);
    parse(&p, "crop:0.2-1:0.5:0.5-2,solarize,solarize:0.3:0.7,cutout,"
              "cutout:0.4:0.1-0.6,rotate,noise,noise:1:0.2,sobel:1");
    assert_int_equal(p.n_ops, 9);
    assert_use(&p.ops[0], "crop", 0.5);
    assert_value(&p.ops[0], 2, 0.5, 2);
    assert_use(&p.ops[1], "solarize", 0.2);
    assert_true(p.ops[1].values[1].low == 0.5);
    assert_use(&p.ops[2], "solarize", 0.3);
    assert_true(p.ops[2].values[1].low == 0.7);
    assert_use(&p.ops[3], "cutout", 1);
    assert_value(&p.ops[3], 1, 0.5, 0.5);
    assert_use(&p.ops[4], "cutout", 0.4);
    assert_value(&p.ops[4], 1, 0.1, 0.6);
    assert_use(&p.ops[5], "rotate", 0.75);
    assert_use(&p.ops[6], "noise", 0.5);
    assert_value(&p.ops[6], 1, 0, 0.1);
    assert_use(&p.ops[7], "noise", 1);
    assert_value(&p.ops[7], 1, 0.2, 0.2);
    assert_use(&p.ops[8], "sobel", 1);
    parse(&p, "simclr-cifar,solarize");
    assert_int_equal(p.n_ops, 5);
    assert_value(&p.ops[2], 1, 0.5, 0.5);
    assert_use(&p.ops[4], "solarize", 0.2);
    parse(&p, "eval,sobel:1");
    assert_true(p.n_ops == 2 && policy_is_evaluation(&p));
    static const char *const names[] = {"simclr", "simclr-cifar", "eval"};
    for (int i = 0; i < 3; i++)
        parse(&p, policy_ops(&operations_on_images, names[i]));
    assert_null(policy_ops(&operations_on_images, "nothing"));
    assert_null(policy_ops(&operations_on_images, "simclr-series"));
}

/* Checks the assumptions of the code that reads the tables of operations. */
static void assert_sound(const struct operation_set *set)
{
    assert_true(set->operations[0]->first && !set->operations[0]->evaluation);
    for (const struct operation *const *o = set->operations; *o; o++) {
        assert_true((*o)->apply && (*o)->drawn_size <= OPERATION_MAX_DRAWN);
        assert_true(!(*o)->first || (*o)->drawn_size == sizeof(struct box));
        assert_ptr_equal(operation_named(set, (*o)->name), *o); /* no name exists twice */
        struct policy p;
        assert_int_equal(policy_parse(&p, set, (*o)->name), 0);
        const struct operation_use *use = &p.ops[p.n_ops - 1];
        for (int i = 0; i < OPERATION_MAX_PARAMETERS && (*o)->parameters[i].meaning; i++) {
            const struct operation_parameter *parameter = &(*o)->parameters[i];
            const double low = use->values[i].low, high = use->values[i].high;
            if (parameter->kind == PARAMETER_PROBABILITY)
                assert_true(use->p >= 0 && use->p <= 1);
            else
                assert_true(low >= parameter->min && low <= parameter->max);
            if (parameter->kind == PARAMETER_RANGE || parameter->kind == PARAMETER_COUNTS)
                assert_true(high >= low && high <= parameter->max);
        }
        for (const struct operation_field *f = (*o)->fields; f && f->name; f++)
            assert_true(f->offset < (*o)->drawn_size);
    }
}

static void tables(void **state)
{
    (void)state;
    assert_sound(&operations_on_images);
    assert_sound(&operations_on_series);
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
        assert_int_equal(policy_parse(&p, &operations_on_images, cases[i].ops), -1);
        if (!strstr(fail_message(), cases[i].message))
            fail_msg("'%s': %s", cases[i].ops, fail_message());
    }
}

/* The draws of a number that should be uniform in [low,high). */
struct draws {
    double low, high;
    int n;
    double x[STEPS * DRAWS];
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

/* Tests with Kolmogorov and Smirnov's test that u[n], which it sorts, is uniform in [0,1). */
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

static void draw(struct view *view, const char *ops, int width, int height, int size,
                 uint32_t number)
{
    struct policy p;
    struct random r;
    parse(&p, ops);
    random_start(&r, 11, RANDOM_VIEW, 0, number, 0);
    view_draw(view, &p, width, height, size, &r);
}

/* Returns the box of the image that a view shows. */
static struct box draw_box(const char *ops, int width, int height, int size, uint32_t number)
{
    struct view view;
    draw(&view, ops, width, height, size, number);
    return *view_box(&view);
}

/* Returns the box of the view that a cutout fills. */
static struct box draw_cutout(const char *ops, int size, uint32_t number)
{
    struct view view;
    draw(&view, ops, 32, 32, size, number);
    struct view_op *op = drawn_find(&view, "cutout");
    return (struct box){*drawn_int(op, "x"), *drawn_int(op, "y"), *drawn_int(op, "w"),
                        *drawn_int(op, "h")};
}

static struct draws law[6];

/* Area and log aspect ratio must be uniform. Areas of up to 0.5 of a square always fit (0.5 x 4/3 <
 * 1), so no draw is rejected. The image is large, so that rounding to pixels has no visible
 * effect. */
static void crop_law(void **state)
{
    (void)state;
    enum { SIDE = 30000 };
    begin(&law[0], 0.07995, 0.50005);
    begin(&law[1], log(0.7498), log(1.3336));
    begin(&law[2], 0, 1);
    begin(&law[3], 0, 1);
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct view view;
        draw(&view, "crop:0.08-0.5", SIDE, SIDE, 32, i);
        assert_int_equal(view.n_ops, 1);
        const struct box b = *view_box(&view);
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
        const struct box b = draw_box("crop:0.1-0.4:0.3:0.5-2", SIDE, SIDE, 32, i);
        if (b.w == SIDE && b.h == SIDE)
            continue;
        crops++;
        add(&law[0], log((double)b.w / b.h));
    }
    assert_share(crops, DRAWS, 0.3);
    assert_uniform(&law[0]);
}

/* Images in which hardly any box fits must use the central one, as torchvision does. */
static void crop_fallback(void **state)
{
    (void)state;
    struct box b = draw_box("crop:1-1", 1000, 10, 32, 1);
    assert_true(b.x == 493 && b.y == 0 && b.w == 13 && b.h == 10);
    b = draw_box("crop:1-1", 10, 1000, 32, 1);
    assert_true(b.x == 0 && b.y == 493 && b.w == 10 && b.h == 13);
    b = draw_box("crop:0.08-1", 1, 1, 32, 1);
    assert_true(b.x == 0 && b.y == 0 && b.w == 1 && b.h == 1);
    b = draw_box("flip:1", 40, 30, 32, 1);
    assert_true(b.x == 0 && b.y == 0 && b.w == 40 && b.h == 30);
}

static void centers(void **state)
{
    (void)state;
    struct box b = draw_box("center", 500, 375, 224, 1);
    assert_true(b.x == 86 && b.y == 23 && b.w == 328 && b.h == 328);
    b = draw_box("center", 32, 32, 32, 1);
    assert_true(b.x == 0 && b.y == 0 && b.w == 32 && b.h == 32);
    b = draw_box("center", 1, 1, 224, 1);
    assert_true(b.x == 0 && b.y == 0 && b.w == 1 && b.h == 1);
}

static void shares(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double p;
    } ops[] = {{"crop", 1},      {"center", 0},   {"flip", 0.5},     {"jitter", 0.8},
               {"gray", 0.2},    {"blur", 0.5},   {"solarize", 0.3}, {"cutout", 0.6},
               {"rotate", 0.75}, {"noise", 0.45}, {"sobel", 0.1}};
    enum { N = sizeof ops / sizeof ops[0] };
    int hits[N] = {0}, both[N] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct view view;
        draw(&view,
             "crop,flip:0.5,jitter:0.8:0.5,gray:0.2,blur:0.5:0.1-2,"
             "solarize:0.3,cutout:0.6,rotate:0.75,noise:0.45,sobel:0.1",
             32, 32, 224, i);
        for (int k = 0; k < N; k++) {
            hits[k] += drawn_find(&view, ops[k].name) != NULL;
            both[k] += drawn_find(&view, ops[k].name) && drawn_find(&view, "flip");
        }
    }
    for (int k = 0; k < N; k++) {
        assert_share(hits[k], DRAWS, ops[k].p);
        if (strcmp(ops[k].name, "flip") != 0)
            assert_share(both[k], DRAWS, ops[k].p * 0.5);
    }
}

static void jitter_law(void **state)
{
    (void)state;
    int orders[256] = {0}, cells[24], n_cells = 0;
    for (int k = 0; k < STEPS; k++)
        begin(&law[k], strcmp(steps[k], "hue") == 0 ? -0.1 : 0.6,
              strcmp(steps[k], "hue") == 0 ? 0.1 : 1.4);
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct view view;
        draw(&view, "jitter:1:0.5", 32, 32, 32, i);
        const struct operation_list *list = drawn_list(&view.ops[1], "order");
        int seen = 0, order = 0;
        assert_int_equal(list->n, STEPS);
        for (int k = 0; k < STEPS; k++) {
            add(&law[k], (double)*drawn_float(&view.ops[1], steps[k]));
            seen |= 1 << list->items[k];
            order = 4 * order + list->items[k];
        }
        assert_int_equal(seen, 15);
        orders[order]++;
    }
    for (int i = 0; i < 256; i++)
        if (orders[i] && n_cells < 24)
            cells[n_cells++] = orders[i];
    assert_int_equal(n_cells, 24);
    assert_chi2(cells, 24, DRAWS, CHI2_23);
    for (int k = 0; k < STEPS; k++)
        assert_uniform(&law[k]);
}

/* A strength above 1.25 would make factors negative. They must stop at 0, as torchvision's do. */
static void strong_jitter(void **state)
{
    (void)state;
    begin(&law[0], 0, 2.6);
    begin(&law[1], -0.4, 0.4);
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct view view;
        draw(&view, "jitter:1:2", 32, 32, 32, i);
        add(&law[0], (double)*drawn_float(&view.ops[1], "contrast"));
        add(&law[1], (double)*drawn_float(&view.ops[1], "hue"));
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
        struct view view;
        draw(&view, "blur:1:0.1-2,noise:1:0.05-0.3,solarize:1:0.7", 9, 9, 224, i);
        add(&law[0], (double)*drawn_float(&view.ops[1], "sigma"));
        add(&law[1], (double)*drawn_float(&view.ops[2], "sigma"));
        assert_int_equal(*drawn_int(&view.ops[1], "kernel"), 23);
        assert_true(*drawn_float(&view.ops[3], "threshold") == 0.7f);
    }
    assert_uniform(&law[0]);
    assert_uniform(&law[1]);
}

/* The width must be a tenth of the view's side, made odd. */
static void blur_kernels(void **state)
{
    (void)state;
    static const int cases[][2] = {{224, 23}, {96, 9}, {32, 3}, {1, 1}}; /* side, kernel */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct view view;
        draw(&view, "blur:1", 9, 9, cases[i][0], 0);
        assert_int_equal(*drawn_int(&view.ops[1], "kernel"), cases[i][1]);
    }
}

/* The view is huge, so that rounding to pixels has no visible effect, and the square is small
 * beside it, so that hardly any square is cut off on two sides, which would hide its side
 * length. */
static void cutout_law(void **state)
{
    (void)state;
    enum { SIZE = 10000000 };
    begin(&law[0], 0.01, 0.03);
    begin(&law[1], 0, 1);
    begin(&law[2], 0, 1);
    for (uint32_t i = 0; i < DRAWS; i++) {
        const struct box b = draw_cutout("cutout:1:0.01-0.03", SIZE, i);
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
    const struct box all = draw_cutout("cutout:1:1", 1, 0);
    const struct box least = draw_cutout("cutout:1:0", 1, 0);
    assert_true(all.x == 0 && all.y == 0 && all.w == 1 && all.h == 1);
    assert_true(least.x == 0 && least.y == 0 && least.w == 1 && least.h == 1);
}

static void rotate_law(void **state)
{
    (void)state;
    int quarters[4] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        struct view view;
        draw(&view, "rotate:1", 32, 32, 32, i);
        assert_int_equal(*drawn_int(&view.ops[1], "degrees") % 90, 0);
        quarters[view_outcome(&view, view.ops[1].operation)]++;
    }
    for (int i = 0; i < 4; i++)
        assert_share(quarters[i], DRAWS, i ? 1 / 3.0 : 0);
}

/* Each noise of each view must have a stream of its own, with purpose RANDOM_PIXELS. */
static void noise_streams(void **state)
{
    (void)state;
    struct policy p;
    struct view view;
    struct random r, pixels;
    parse(&p, "noise:1,flip,noise:1");
    random_start(&r, 5, RANDOM_VIEW, 6, 7, 1);
    random_start(&pixels, 5, RANDOM_PIXELS, 6, 7, 1);
    view_draw(&view, &p, 32, 32, 32, &r);
    for (int i = 0; i < view.n_ops; i++) {
        if (strcmp(view.ops[i].operation->name, "noise") != 0)
            continue;
        const uint32_t *counter = drawn_words(&view.ops[i], "counter");
        assert_memory_equal(drawn_words(&view.ops[i], "key"), pixels.key, sizeof pixels.key);
        assert_memory_equal(counter + 1, pixels.counter + 1, 3 * sizeof *counter);
        assert_int_equal(counter[0], i == 1 ? 1U << 28 : 3U << 28);
    }
}

/* The noise must be normally distributed in each channel, and the channels must be uncorrelated. */
static void noise_law(void **state)
{
    (void)state;
    struct view view = {.n_ops = 0};
    struct view_op *op = drawn_append(&view, &operations_on_images, "noise");
    memcpy(drawn_words(op, "counter"), (uint32_t[]){0, 1, 2, RANDOM_PIXELS << 24}, 16);
    memcpy(drawn_words(op, "key"), (uint32_t[]){3, 0}, 8);
    *drawn_float(op, "sigma") = 0.05f;
    float *rgb = malloc(3 * DRAWS * sizeof *rgb);
    for (int i = 0; i < 3 * DRAWS; i++)
        rgb[i] = 0.5f;
    op->operation->apply(op->drawn,
                         &(struct operation_canvas){.x = rgb, .n = DRAWS, .channels = 3});
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
    struct view view = {.n_ops = 0};
    struct view_op *op = drawn_append(&view, &operations_on_images, "crop");
    *drawn_int(op, "w") = *drawn_int(op, "h") = SIDE;
    drawn_append(&view, &operations_on_images, "flip");
    op = drawn_append(&view, &operations_on_images, "jitter");
    static const char *const order[] = {"hue", "contrast", "saturation", "brightness"};
    static const float factors[] = {0.1f, 1.4f, 0.6f, 1.2f};
    drawn_list(op, "order")->n = STEPS;
    for (int i = 0; i < STEPS; i++) {
        drawn_list(op, "order")->items[i] = drawn_item(op, "order", order[i]);
        *drawn_float(op, order[i]) = factors[i];
    }
    op = drawn_append(&view, &operations_on_images, "blur");
    *drawn_float(op, "sigma") = 0.8f;
    *drawn_int(op, "kernel") = 3;
    struct view_memory memory = {0};
    uint8_t out[SIDE * SIDE * 3];
    assert_int_equal(view_apply(&view, &(struct scaled_image){input->data, SIDE, SIDE, 1, {0}},
                                SIDE, &memory, out),
                     0);
    for (int i = 0; i < SIDE * SIDE; i++)
        for (int c = 0; c < 3; c++) {
            const double exact = 255 * (double)expected[c * SIDE * SIDE + i];
            assert_true(fabs(out[3 * i + c] - exact) <= 0.5 + 1e-3);
        }
    view_memory_free(&memory);
    frame_free(golden);
}

/* The bytes must be the same with memory that was used for another image and with fresh memory. */
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
    struct view on_big;
    draw(&on_big, ops, BIG, BIG, SIZE, 4);
    struct view on_small;
    draw(&on_small, ops, SMALL, SMALL, SIZE, 4);
    assert_int_equal(view_apply(&on_small, &(struct scaled_image){small, SMALL, SMALL, 1, {0}},
                                SIZE, &fresh, once),
                     0);
    assert_int_equal(
        view_apply(&on_big, &(struct scaled_image){big, BIG, BIG, 1, {0}}, SIZE, &used, again), 0);
    assert_memory_not_equal(once, again, sizeof once);
    assert_int_equal(view_apply(&on_small, &(struct scaled_image){small, SMALL, SMALL, 1, {0}},
                                SIZE, &used, again),
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

/* Paints a smooth picture, pixels (ceil(height/d),ceil(width/d),3), with its values at the middle
 * of each block of d x d. */
static void paint(uint8_t *pixels, int width, int height, int d)
{
    for (int y = 0; y < (height + d - 1) / d; y++)
        for (int x = 0; x < (width + d - 1) / d; x++)
            for (int c = 0; c < 3; c++)
                *pixels++ = smooth((x + 0.5) * d, (y + 0.5) * d, c);
}

/* Boxes must be in pixels of the whole image, whatever the scale at which it was decoded. */
static void reduced_scales(void **state)
{
    (void)state;
    enum { WIDTH = 301, HEIGHT = 203, SIZE = 20 };
    struct view view = {.n_ops = 0};
    struct view_op *crop = drawn_append(&view, &operations_on_images, "crop");
    *drawn_int(crop, "x") = 41;
    *drawn_int(crop, "y") = 23;
    *drawn_int(crop, "w") = 197;
    *drawn_int(crop, "h") = 161;
    assert_true(view_scale_needed(&view, SIZE) == SIZE / 161.0);
    assert_true(view_scale_needed(&view, 322) == 2);
    struct view_memory memory = {0};
    uint8_t *pixels = malloc(3 * WIDTH * HEIGHT), whole[3 * SIZE * SIZE], reduced[3 * SIZE * SIZE];
    for (int d = 1; d <= 8; d *= 2) {
        paint(pixels, WIDTH, HEIGHT, d);
        const struct scaled_image image = {pixels, WIDTH, HEIGHT, d, {0}};
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
        cmocka_unit_test(parsing),        cmocka_unit_test(tables),
        cmocka_unit_test(wrong_lists),    cmocka_unit_test(crop_law),
        cmocka_unit_test(crop_arguments), cmocka_unit_test(crop_fallback),
        cmocka_unit_test(centers),        cmocka_unit_test(shares),
        cmocka_unit_test(jitter_law),     cmocka_unit_test(strong_jitter),
        cmocka_unit_test(sigma_law),      cmocka_unit_test(blur_kernels),
        cmocka_unit_test(cutout_law),     cmocka_unit_test(rotate_law),
        cmocka_unit_test(noise_streams),  cmocka_unit_test(noise_law),
        cmocka_unit_test(whole_view),     cmocka_unit_test(memory_reuse),
        cmocka_unit_test(reduced_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
