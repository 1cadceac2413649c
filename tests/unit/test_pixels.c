/* resample, color, blur and PNG decoding against PIL and torchvision (tests/golden/augment.py). */
/* Before cmocka.h, which makes fail a macro. */
#include "fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blur.h"
#include "color.h"
#include "frame_io.h"
#include "image.h"
#include "resample.h"

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
        max = d <= max ? max : d; /* a NaN stays */
    }
    return max;
}

/* Every golden tensor of that prefix is handed to `one`; there must be `expected` of them. */
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

static void one_color(const struct tensor *expected)
{
    const struct tensor *input = get("color");
    const size_t n = (size_t)input->shape[1];
    float *rgb = malloc(input->bytes);
    memcpy(rgb, input->data, input->bytes);
    char op[16] = "";
    float factor = 0;
    sscanf(expected->name, "color/%15[a-z]/%f", op, &factor);
    if (strcmp(op, "brightness") == 0)
        color_brightness(rgb, n, factor);
    else if (strcmp(op, "contrast") == 0)
        color_contrast(rgb, n, factor);
    else if (strcmp(op, "saturation") == 0)
        color_saturation(rgb, n, factor);
    else if (strcmp(op, "hue") == 0)
        color_hue(rgb, n, factor);
    else if (strcmp(op, "gray") == 0)
        color_gray(rgb, n);
    else
        fail_msg("%s", expected->name);
    const double difference = worst(rgb, expected->data, 3 * n);
    if (!(difference <= 2e-6))
        fail_msg("%s: off by %g", expected->name, difference);
    free(rgb);
}

static void colors(void **state)
{
    (void)state;
    for_each("color/", 19, one_color);
}

static void one_blur(const struct tensor *expected)
{
    const struct tensor *input = get("blur");
    const int size = (int)input->shape[1];
    int kernel;
    float sigma;
    assert_int_equal(sscanf(expected->name, "blur/%d/%f", &kernel, &sigma), 2);
    float *planes = malloc(input->bytes);
    float *scratch = malloc(blur_scratch(size, kernel) * sizeof *scratch);
    memcpy(planes, input->data, input->bytes);
    blur_gaussian(planes, size, kernel, sigma, scratch);
    const double difference = worst(planes, expected->data, tensor_count(input));
    if (!(difference <= 2e-6))
        fail_msg("%s: off by %g", expected->name, difference);
    free(planes);
    free(scratch);
}

static void blurs(void **state)
{
    (void)state;
    for_each("blur/", 6, one_blur);
    assert_int_equal(blur_kernel(224), 23);
    assert_int_equal(blur_kernel(96), 9);
    assert_int_equal(blur_kernel(32), 3);
    assert_int_equal(blur_kernel(1), 1);
}

static void one_crop(const struct tensor *expected)
{
    const struct tensor *input = get("crop");
    const int height = (int)input->shape[0], width = (int)input->shape[1];
    struct box box;
    int size;
    assert_int_equal(
        sscanf(expected->name, "crop/%d,%d,%d,%d/%d", &box.x, &box.y, &box.w, &box.h, &size), 5);
    const size_t n = (size_t)size * (size_t)size;
    float *out = malloc(3 * n * sizeof *out);
    float *scratch = malloc(resample_scratch(width, height, size) * sizeof *scratch);
    resample_bicubic(input->data, width, height, box, size, out, scratch);
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
    for_each("crop/", 9, one_crop);
}

/* A box of the same size as the view comes out as it went in, to the last bit of the byte. */
static void identity(void **state)
{
    (void)state;
    enum { SIDE = 16, WIDTH = 20, HEIGHT = 18 };
    uint8_t pixels[HEIGHT * WIDTH * 3];
    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i * 37);
    float out[3 * SIDE * SIDE];
    float *scratch = malloc(resample_scratch(WIDTH, HEIGHT, SIDE) * sizeof *scratch);
    resample_bicubic(pixels, WIDTH, HEIGHT, (struct box){3, 2, SIDE, SIDE}, SIDE, out, scratch);
    for (int c = 0; c < 3; c++)
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++)
                assert_int_equal((int)(out[(c * SIDE + y) * SIDE + x] * 255 + 0.5f),
                                 pixels[((y + 2) * WIDTH + x + 3) * 3 + c]);
    free(scratch);
}

static void one_png(const struct tensor *expected)
{
    char path[256];
    snprintf(path, sizeof path, "tests/data/png/%s.png", expected->name + strlen("png/"));
    struct image image = {0};
    if (image_read_png(&image, path))
        fail_msg("%s", fail_message());
    assert_int_equal(image.height, expected->shape[0]);
    assert_int_equal(image.width, expected->shape[1]);
    if (memcmp(image.pixels, expected->data, expected->bytes) != 0)
        fail_msg("%s: other pixels than PIL's", path);
    image_free(&image);
}

static void pngs(void **state)
{
    (void)state;
    for_each("png/", 33, one_png);
}

static uint8_t *read_whole(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = malloc(1 << 16);
    *size = fread(bytes, 1, 1 << 16, file);
    fclose(file);
    return bytes;
}

/* Reads these bytes as a PNG from a temporary file. */
static int read_bytes(struct image *image, const uint8_t *bytes, size_t size)
{
    char path[] = "/tmp/test_pixels.XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *file = fdopen(fd, "wb");
    fwrite(bytes, 1, size, file);
    fclose(file);
    const int result = image_read_png(image, path);
    if (result)
        assert_non_null(strstr(fail_message(), path));
    remove(path);
    return result;
}

/* No damage may crash; every truncation is noticed, and so is every flipped bit of the header. */
static void damaged_pngs(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = read_whole("tests/data/png/palette4-interlaced.png", &size);
    struct image image = {0};
    assert_int_equal(read_bytes(&image, bytes, size), 0);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(read_bytes(&image, bytes, cut), -1);
    for (size_t at = 0; at < size; at++)
        for (int bit = 0; bit < 8; bit += 3) {
            bytes[at] ^= (uint8_t)(1 << bit);
            const int result = read_bytes(&image, bytes, size);
            if (at < 33)
                assert_int_equal(result, -1);
            bytes[at] ^= (uint8_t)(1 << bit);
        }
    free(bytes);
    assert_int_equal(image_read_png(&image, "tests/data/png"), -1);
    assert_non_null(strstr(fail_message(), "not a regular file"));
    assert_int_equal(image_read_png(&image, "tests/data/nothing.png"), -1);
    assert_int_equal(image_read_png(&image, "tests/golden/augment.py"), -1);
    assert_non_null(strstr(fail_message(), "not a PNG"));
    image_free(&image);
}

static void sizes(void **state)
{
    (void)state;
    struct image image = {0};
    assert_int_equal(image_resize(&image, 3, 2, "here"), 0);
    memset(image.buffer, 1, 18);
    assert_int_equal(image_resize(&image, 0, 5, "here"), -1);
    assert_int_equal(image_resize(&image, 5, IMAGE_MAX_SIDE + 1, "here"), -1);
    assert_int_equal(image_resize(&image, IMAGE_MAX_SIDE, IMAGE_MAX_SIDE, "here"), -1);
    assert_int_equal(image_resize(&image, INT64_MAX, INT64_MAX, "here"), -1);
    assert_int_equal(strncmp(fail_message(), "here: ", 6), 0);
    image_free(&image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(colors),   cmocka_unit_test(blurs), cmocka_unit_test(crops),
        cmocka_unit_test(identity), cmocka_unit_test(pngs),  cmocka_unit_test(damaged_pngs),
        cmocka_unit_test(sizes),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
