/* Tests decoding of PNG and JPEG against PIL (tests/golden/augment.py and decode.py), and with
 * damaged files. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode.h"
#include "data/image.h"
#include "frame/frame_io.h"

static struct decoder *decoder;

static int make_decoder(void **state)
{
    (void)state;
    decoder = decoder_new();
    return decoder ? 0 : -1;
}

static int free_decoder(void **state)
{
    (void)state;
    decoder_free(decoder);
    return 0;
}

/* Decodes a sample. Returns -1 if decode_start() or decode_finish() fails. */
static int decode(const struct sample *s, bool orient, struct image *image)
{
    struct decode_header header;
    if (decode_start(decoder, s, orient, &header) || decode_finish(decoder, DECODE_RGB, 1, image))
        return -1;
    assert_int_equal(image->width, header.width);
    assert_int_equal(image->height, header.height);
    return 0;
}

static void read_file(struct sample *s, const char *path)
{
    s->file = path;
    if (sample_read_file(s))
        fail_msg("%s", fail_message());
}

/* Compares each tensor "PREFIX/NAME" with the pixels of tests/data/FOLDER/NAME.FOLDER. */
static void compare(const char *golden_path, const char *prefix, const char *folder, bool orient,
                    int expected)
{
    struct frame *golden = frame_load(golden_path);
    assert_non_null(golden);
    struct image image = {0};
    struct sample s = {0};
    int found = 0;
    for (int i = 0; i < golden->n_tensors; i++) {
        const struct tensor *t = &golden->tensors[i];
        if (strncmp(t->name, prefix, strlen(prefix)) != 0 || t->name[strlen(prefix)] != '/')
            continue;
        char path[256];
        snprintf(path, sizeof path, "tests/data/%s/%s.%s", folder, t->name + strlen(prefix) + 1,
                 strcmp(folder, "png") == 0 ? "png" : "jpg");
        read_file(&s, path);
        if (decode(&s, orient, &image))
            fail_msg("%s", fail_message());
        assert_int_equal(image.height, t->shape[0]);
        assert_int_equal(image.width, t->shape[1]);
        if (memcmp(image.pixels, t->data, t->bytes) != 0)
            fail_msg("%s: other pixels than PIL's", path);
        found++;
    }
    assert_int_equal(found, expected);
    image_free(&image);
    sample_free(&s);
    frame_free(golden);
}

static void pngs(void **state)
{
    (void)state;
    compare("tests/golden/augment.safetensors", "png", "png", false, 33);
    compare("tests/golden/augment.safetensors", "png", "png", true, 33);
}

static void jpegs(void **state)
{
    (void)state;
    compare("tests/golden/decode.safetensors", "jpeg", "jpeg", false, 12);
    compare("tests/golden/decode.safetensors", "turned", "jpeg", true, 12);
}

/* Checks that no damage crashes the decoder, that it notices every truncation except that of the
 * `rest` bytes after the image, and that it can be used for the next picture afterwards. */
static void damage(const char *path, size_t rest)
{
    struct sample whole = {0};
    read_file(&whole, path);
    struct image image = {0}, expected = {0};
    assert_int_equal(decode(&whole, true, &expected), 0);
    const size_t bytes = 3 * (size_t)expected.width * (size_t)expected.height;
    for (size_t cut = 0; cut < whole.size; cut++) {
        uint8_t *copy = malloc(cut + 1); /* exactly of that size, for AddressSanitizer */
        memcpy(copy, whole.bytes, cut);
        const struct sample s = {.bytes = copy, .size = cut, .file = "cut.file"};
        if (cut >= whole.size - rest) {
            assert_int_equal(decode(&s, true, &image), 0);
            assert_memory_equal(image.pixels, expected.pixels, bytes);
        } else {
            assert_int_equal(decode(&s, true, &image), -1);
            assert_int_equal(strncmp(fail_message(), "cut.file: ", 10), 0);
        }
        free(copy);
    }
    for (size_t at = 0; at < whole.size; at++)
        for (int bit = 0; bit < 8; bit += 3) {
            whole.buffer[at] ^= (uint8_t)(1 << bit);
            (void)decode(&whole, true, &image);
            whole.buffer[at] ^= (uint8_t)(1 << bit);
        }
    assert_int_equal(decode(&whole, true, &image), 0);
    assert_memory_equal(image.pixels, expected.pixels, bytes);
    image_free(&image);
    image_free(&expected);
    sample_free(&whole);
}

static void damaged(void **state)
{
    (void)state;
    damage("tests/data/png/palette4-interlaced.png", 12); /* the IEND chunk */
    damage("tests/data/jpeg/ycc420.jpg", 0);
    damage("tests/data/jpeg/progressive.jpg", 0);
    damage("tests/data/jpeg/cmyk.jpg", 0);
    damage("tests/data/jpeg/turned6.jpg", 0);
}

static void other_files(void **state)
{
    (void)state;
    struct sample s = {.file = "tests/data/png"};
    struct image image = {0};
    assert_int_equal(sample_read_file(&s), -1);
    assert_non_null(strstr(fail_message(), "not a regular file"));
    s.file = "tests/data/nothing.png";
    assert_int_equal(sample_read_file(&s), -1);
    assert_non_null(strstr(fail_message(), "nothing.png: No such file"));
    read_file(&s, "tests/golden/augment.py");
    s.member = "inside";
    assert_int_equal(decode(&s, false, &image), -1);
    assert_string_equal(fail_message(),
                        "tests/golden/augment.py: inside: not PNG, JPEG, WebP, TIFF, BMP or PNM");
    assert_int_equal(sample_read_part(&s, 1 << 20, 5), -1);
    assert_non_null(strstr(fail_message(), "truncated: 0 of 5 bytes"));
    assert_int_equal(sample_read_part(&s, 0, INT64_MAX), -1);
    sample_free(&s);
}

/* A picture at 1/d must have ceil(side/d) pixels a side, with about the mean of the whole
 * picture. */
static void reduced(void **state)
{
    (void)state;
    struct sample s = {0};
    struct image image = {0};
    struct decode_header header;
    read_file(&s, "tests/data/jpeg/ycc444.jpg");
    double means[4] = {0};
    for (int i = 0; i < 4; i++) {
        const int d = 1 << i;
        assert_int_equal(decode_start(decoder, &s, false, &header), 0);
        assert_int_equal(decode_reduction(decoder, 1.0 / d), d);
        assert_int_equal(decode_reduction(decoder, 1.01 / d), d > 1 ? d / 2 : 1);
        assert_int_equal(decode_finish(decoder, DECODE_RGB, d, &image), 0);
        assert_int_equal(image.width, (13 + d - 1) / d);
        assert_int_equal(image.height, (11 + d - 1) / d);
        const int n = 3 * image.width * image.height;
        for (int k = 0; k < n; k++)
            means[i] += image.pixels[k] / (double)n;
    }
    assert_true(means[1] - means[0] < 8 && means[0] - means[1] < 8);
    read_file(&s, "tests/data/png/rgb8.png");
    assert_int_equal(decode_start(decoder, &s, false, &header), 0);
    assert_int_equal(decode_reduction(decoder, 0.01), 1);
    sample_free(&s);
    image_free(&image);
}

static void names(void **state)
{
    (void)state;
    assert_true(decode_knows_name("a.png") && decode_knows_name("a.b.JPG"));
    assert_true(decode_knows_name("x.Jpeg") && decode_knows_name("x.jfif"));
    assert_true(decode_knows_name("x.WebP") && decode_knows_name("x.tif") &&
                decode_knows_name("x.TIFF") && decode_knows_name("x.bmp"));
    assert_true(decode_knows_name("x.pbm") && decode_knows_name("x.pgm") &&
                decode_knows_name("x.ppm") && decode_knows_name("x.pam"));
    assert_false(decode_knows_name(".png") || decode_knows_name("png") ||
                 decode_knows_name("a.pngx") || decode_knows_name("a.jp") ||
                 decode_knows_name("a."));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pngs),    cmocka_unit_test(jpegs),       cmocka_unit_test(reduced),
        cmocka_unit_test(damaged), cmocka_unit_test(other_files), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, make_decoder, free_decoder);
}
