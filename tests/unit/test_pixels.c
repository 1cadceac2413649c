/* Tests what operations on images compute, against PIL, torchvision and numpy
 * (tests/golden/augment.py). */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/isa.h"
#include "base/random.h"
#include "data/image.h"
#include "frame/frame_io.h"
#include "views/operation.h"
#include "views/pixels.h"
#include "views/resample.h"

#include "drawn.h"

static struct frame *golden;

static int load(void **state)
{
    (void)state;
    golden = frame_load("tests/golden/augment.safetensors");
    return golden ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    frame_free(golden);
    return 0;
}

static const struct tensor *get(const char *name)
{
    const struct tensor *t = frame_find(golden, name);
    assert_non_null(t);
    return t;
}

static double worst(const float *a, const float *b, size_t n)
{
    double max = 0;
    for (size_t i = 0; i < n; i++) {
        const double d = fabs((double)a[i] - (double)b[i]);
        max = d <= max ? max : d; /* keeps a NaN */
    }
    return max;
}

/* Calls `one` for every golden tensor of that prefix, of which there must be `expected`. */
static void for_each(const char *prefix, int expected, void (*one)(const struct tensor *))
{
    int found = 0;
    for (int i = 0; i < golden->n_tensors; i++)
        if (strncmp(golden->tensors[i].name, prefix, strlen(prefix)) == 0) {
            one(&golden->tensors[i]);
            found++;
        }
    assert_int_equal(found, expected);
}

/* Prepares an operation on images for which nothing is drawn. */
static void begin(struct view_op *op, const char *name)
{
    struct view view = {.n_ops = 0};
    memcpy(op, drawn_append(&view, &operations_on_images, name), sizeof *op);
}

/* Applies the operation to x F32 (3,n). The planes are size x size unless the operation treats each
 * pixel by itself. */
static void apply(struct view_op *op, float *x, size_t n, int size)
{
    struct operation_canvas canvas = {.x = x, .n = n, .size = size, .channels = 3};
    if (op->operation->scratch)
        canvas.scratch = malloc(op->operation->scratch(op->drawn, &canvas) * sizeof(float));
    op->operation->apply(op->drawn, &canvas);
    free(canvas.scratch);
}

static const char *const steps[] = {"brightness", "contrast", "saturation", "hue"};
enum { STEPS = sizeof steps / sizeof steps[0] };

/* Prepares a jitter with the n steps of these names, each with its factor. */
static void begin_jitter(struct view_op *op, int n, const char *const *names, const float *factors)
{
    begin(op, "jitter");
    drawn_list(op, "order")->n = n;
    for (int i = 0; i < n; i++) {
        drawn_list(op, "order")->items[i] = drawn_item(op, "order", names[i]);
        *drawn_float(op, names[i]) = factors[i];
    }
}

static void apply_color(const char *name, float *rgb, size_t n, float factor)
{
    struct view_op op;
    bool is_step = false;
    for (int i = 0; i < STEPS; i++)
        is_step |= strcmp(name, steps[i]) == 0;
    if (is_step)
        begin_jitter(&op, 1, &name, &factor);
    else
        begin(&op, name);
    if (strcmp(name, "solarize") == 0)
        *drawn_float(&op, "threshold") = factor;
    apply(&op, rgb, n, 0);
}

/* Copies the first n pixels of planes of `all` pixels. */
static void first_pixels(const float *rgb, size_t all, size_t n, float *out)
{
    for (size_t c = 0; c < 3; c++)
        memcpy(out + c * n, rgb + c * all, n * sizeof *out);
}

/* Tests all pixels, and the first few, in numbers on either side of every vector length. */
static void one_color(const struct tensor *expected)
{
    const struct tensor *input = get("color");
    const size_t all = (size_t)input->shape[1];
    float *rgb = malloc(input->bytes), *first = malloc(input->bytes);
    char op[16] = "";
    float factor = 0;
    sscanf(expected->name, "color/%15[a-z]/%f", op, &factor);
    const bool each_by_itself = strcmp(op, "contrast") != 0;
    for (size_t n = each_by_itself ? 1 : all; n <= all; n = n == 70 ? all : n + 1) {
        first_pixels(input->data, all, n, rgb);
        first_pixels(expected->data, all, n, first);
        apply_color(op, rgb, n, factor);
        const double difference = worst(rgb, first, 3 * n);
        if (!(difference <= 2e-6))
            fail_msg("%s: off by %g for %zu pixels", expected->name, difference, n);
    }
    free(rgb);
    free(first);
}

static void colors(void **state)
{
    (void)state;
    for_each("color/", 22, one_color);
}

/* Tests few pixels, and more than a block of them; the mean is in float64. */
static void contrasts(void **state)
{
    (void)state;
    enum { MOST = 3000 };
    float *rgb = malloc(3 * MOST * sizeof *rgb);
    double *exact = malloc(3 * MOST * sizeof *exact);
    for (size_t n = 1; n <= MOST; n = n == 70 ? MOST : n + 1) {
        double mean = 0;
        for (size_t i = 0; i < 3 * n; i++)
            rgb[i] = (float)(i * 7919 % 10007) / 10006;
        for (size_t i = 0; i < n; i++)
            mean += 0.2989 * (double)rgb[i] + 0.587 * (double)rgb[n + i] +
                    0.114 * (double)rgb[2 * n + i];
        for (size_t i = 0; i < 3 * n; i++)
            exact[i] = fmin(1, fmax(0, 1.7 * (double)rgb[i] - 0.7 * mean / (double)n));
        apply_color("contrast", rgb, n, 1.7f);
        for (size_t i = 0; i < 3 * n; i++)
            assert_true(fabs((double)rgb[i] - exact[i]) <= 2e-6);
    }
    free(rgb);
    free(exact);
}

/* With more pixels than a block, and steps before and after contrast, the result must be that of
 * single steps. */
static void many_steps(void **state)
{
    (void)state;
    enum { PIXELS = 3000 };
    static const char *const order[STEPS] = {"hue", "brightness", "contrast", "saturation"};
    static const float factors[STEPS] = {-0.2f, 1.3f, 0.4f, 1.6f};
    struct view_op op;
    float *together = malloc(3 * PIXELS * sizeof *together);
    float *one_by_one = malloc(3 * PIXELS * sizeof *one_by_one);
    for (int i = 0; i < 3 * PIXELS; i++)
        together[i] = one_by_one[i] = (float)(i * 7919 % 10007) / 10006;
    begin_jitter(&op, STEPS, order, factors);
    apply(&op, together, PIXELS, 0);
    for (int i = 0; i < STEPS; i++) {
        begin_jitter(&op, 1, order + i, factors + i);
        apply(&op, one_by_one, PIXELS, 0);
    }
    assert_memory_equal(together, one_by_one, 3 * PIXELS * sizeof *together);
    free(together);
    free(one_by_one);
}

static void bytes(void **state)
{
    (void)state;
    for (size_t n = 1; n <= 70; n++) {
        float rgb[3 * 70];
        uint8_t out[3 * 70];
        for (size_t i = 0; i < 3 * n; i++)
            rgb[i] = (float)(i * 7 % 256) / 255 + (i % 2 ? 0.49f : -0.49f) / 255;
        for (size_t i = 0; i < 3 * n; i++)
            rgb[i] = rgb[i] < 0 ? 0 : rgb[i] > 1 ? 1 : rgb[i];
        pixels_to_bytes(rgb, n, out);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < 3; c++)
                assert_int_equal(out[3 * i + c], (c * n + i) * 7 % 256);
    }
}

static void begin_blur(struct view_op *op, int kernel, float sigma)
{
    begin(op, "blur");
    *drawn_int(op, "kernel") = kernel;
    *drawn_float(op, "sigma") = sigma;
}

/* Applies the operation to a golden input, and compares the result. */
static void assert_applied(struct view_op *op, const struct tensor *input,
                           const struct tensor *expected)
{
    const int size = (int)input->shape[1];
    const size_t n = (size_t)size * (size_t)size;
    float *planes = malloc(input->bytes);
    memcpy(planes, input->data, input->bytes);
    apply(op, planes, n, size);
    const double difference = worst(planes, expected->data, 3 * n);
    if (!(difference <= 2e-6))
        fail_msg("%s: off by %g", expected->name, difference);
    free(planes);
}

static void one_blur(const struct tensor *expected)
{
    int kernel;
    float sigma;
    struct view_op op;
    assert_int_equal(sscanf(expected->name, "blur/%d/%f", &kernel, &sigma), 2);
    begin_blur(&op, kernel, sigma);
    assert_applied(&op, get("blur"), expected);
}

static void blurs(void **state)
{
    (void)state;
    for_each("blur/", 6, one_blur);
}

static void begin_cutout(struct view_op *op, int x, int y, int w, int h)
{
    begin(op, "cutout");
    *drawn_int(op, "x") = x;
    *drawn_int(op, "y") = y;
    *drawn_int(op, "w") = w;
    *drawn_int(op, "h") = h;
}

static void begin_noise(struct view_op *op, float sigma)
{
    begin(op, "noise");
    *drawn_float(op, "sigma") = sigma;
    memcpy(drawn_words(op, "counter"), (uint32_t[]){0xfffffff0, 7, 11, 2 << 24 | 1}, 16);
    memcpy(drawn_words(op, "key"), (uint32_t[]){123456789, 987654321}, 8);
}

static void one_plane_op(const struct tensor *expected)
{
    char input_name[16] = "", name[16] = "", arguments[32] = "";
    sscanf(expected->name, "%15[a-z]/%15[a-z_]/%31s", input_name, name, arguments);
    struct view_op op;
    int kernel = 0, x, y, w, h;
    float number = 0;
    if (strcmp(name, "hflip") == 0)
        begin(&op, "flip");
    else if (strcmp(name, "sobel") == 0)
        begin(&op, "sobel");
    else if (sscanf(arguments, "%d,%d,%d,%d", &x, &y, &w, &h) == 4)
        begin_cutout(&op, x, y, w, h);
    else if (sscanf(arguments, "%d,%f", &kernel, &number) == 2)
        begin_blur(&op, kernel, number);
    else if (strcmp(name, "rotate") == 0) {
        begin(&op, "rotate");
        *drawn_int(&op, "degrees") = atoi(arguments);
    } else
        begin_noise(&op, (float)atof(arguments));
    assert_applied(&op, get(input_name), expected);
}

static void plane_ops(void **state)
{
    (void)state;
    for_each("odd/", 14, one_plane_op);
    for_each("point/", 10, one_plane_op);
}

static void one_crop(const struct tensor *expected)
{
    char input_name[16] = "";
    struct area area;
    int size;
    assert_int_equal(sscanf(expected->name, "%15[a-z]/%lf,%lf,%lf,%lf/%d", input_name, &area.x,
                            &area.y, &area.w, &area.h, &size),
                     6);
    const struct tensor *input = get(input_name);
    const int height = (int)input->shape[0], width = (int)input->shape[1];
    const size_t n = (size_t)size * (size_t)size;
    float *out = malloc(3 * n * sizeof *out);
    float *scratch = malloc(resample_scratch(width, height, size) * sizeof *scratch);
    resample_bicubic(input->data, (struct image_kind){0}, width, height, area, size, out, scratch);
    const uint8_t *pil = expected->data;
    double max = 0, sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < 3; c++) {
            const double mine = floor((double)out[c * n + i] * 255 + 0.5);
            const double d = fabs(mine - pil[3 * i + c]);
            max = d > max ? d : max;
            sum += d;
        }
    if (max > 2 || !(sum / (double)(3 * n) < 0.3))
        fail_msg("%s: off by %g, on average %g", expected->name, max, sum / (double)(3 * n));
    free(out);
    free(scratch);
}

static void crops(void **state)
{
    (void)state;
    for_each("crop/", 12, one_crop);
    for_each("tall/", 7, one_crop);
    for_each("pixel/", 2, one_crop);
}

/* Weights must sum to one for any box, and no memory outside the image may be read. */
static void any_box(void **state)
{
    (void)state;
    enum { MOST = 90, CASES = 2000 };
    struct random r;
    random_start(&r, 1, RANDOM_VIEW, 0, 0, 0);
    for (int i = 0; i < CASES; i++) {
        const int width = 1 + (int)random_below(&r, MOST), height = 1 + (int)random_below(&r, MOST);
        const int size = 1 + (int)random_below(&r, MOST);
        const double x = random_uniform(&r, 0, width), y = random_uniform(&r, 0, height);
        const struct area area = {x, y, random_uniform(&r, 0.1, 1) * (width - x),
                                  random_uniform(&r, 0.1, 1) * (height - y)};
        const size_t bytes_in = 3 * (size_t)width * (size_t)height, n = (size_t)size * (size_t)size;
        uint8_t *pixels = malloc(bytes_in);
        float *out = malloc(3 * n * sizeof *out);
        float *scratch = malloc(resample_scratch(width, height, size) * sizeof *scratch);
        memset(pixels, 100, bytes_in);
        resample_bicubic(pixels, (struct image_kind){0}, width, height, area, size, out, scratch);
        for (size_t k = 0; k < 3 * n; k++)
            assert_true(fabsf(out[k] - 100 / 255.0f) < 2e-6f);
        free(pixels);
        free(out);
        free(scratch);
    }
}

/* A box of the same size as the view must be copied exactly, to the last bit of the byte. */
static void identity(void **state)
{
    (void)state;
    enum { SIDE = 16, WIDTH = 20, HEIGHT = 18 };
    uint8_t pixels[HEIGHT * WIDTH * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    float out[3 * SIDE * SIDE];
    float *scratch = malloc(resample_scratch(WIDTH, HEIGHT, SIDE) * sizeof *scratch);
    resample_bicubic(pixels, (struct image_kind){0}, WIDTH, HEIGHT, (struct area){3, 2, SIDE, SIDE},
                     SIDE, out, scratch);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                assert_int_equal((int)(out[(c * SIDE + y) * SIDE + x] * 255 + 0.5f),
                                 pixels[((y + 2) * WIDTH + x + 3) * 3 + c]);
    free(scratch);
}

static void sizes(void **state)
{
    (void)state;
    struct image image = {0};
    assert_int_equal(image_resize(&image, 3, 2, (struct image_kind){0}, "here"), 0);
    memset(image.buffer, 1, 18);
    assert_int_equal(image_resize(&image, 0, 5, (struct image_kind){0}, "here"), -1);
    assert_int_equal(image_resize(&image, 5, IMAGE_MAX_SIDE + 1, (struct image_kind){0}, "here"),
                     -1);
    assert_int_equal(
        image_resize(&image, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE, (struct image_kind){0}, "here"), -1);
    assert_int_equal(image_resize(&image, INT64_MAX, INT64_MAX, (struct image_kind){0}, "here"),
                     -1);
    assert_int_equal(strncmp(fail_message(), "here: ", 6), 0);
    image_free(&image);
}

#ifdef NEEDS
static void not_on_this_machine(void **state)
{
    (void)state;
    print_message("this machine cannot run these kernels\n");
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colors), cmocka_unit_test(contrasts), cmocka_unit_test(many_steps),
        cmocka_unit_test(bytes),  cmocka_unit_test(blurs),     cmocka_unit_test(plane_ops),
        cmocka_unit_test(crops),  cmocka_unit_test(any_box),   cmocka_unit_test(identity),
        cmocka_unit_test(sizes),
    };
#ifdef NEEDS
    if (!isa_has(NEEDS)) {
        const struct CMUnitTest none[] = {cmocka_unit_test(not_on_this_machine)};
        return cmocka_run_group_tests(none, NULL, NULL);
    }
#endif
    return cmocka_run_group_tests(tests, load, unload);
}
