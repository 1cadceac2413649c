/* Tests dataset with CIFAR-10 files, folders, the drawn shapes, and data that must be refused.
 * tests/programs/inputs.sh tests the other formats. */
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
#include <sys/stat.h>
#include <unistd.h>

#include "data/dataset.h"

static struct read_errors *errors;

static struct dataset *open_set(const char *path, const char *format, const char *split, int size)
{
    return dataset_open(
        &(struct dataset_options){
            .path = path, .format = format, .split = split, .size = size, .budget = 1 << 20},
        errors);
}

static int native_size(const struct dataset *set)
{
    int agree, looked_at;
    const int size = dataset_native_size(set, &agree, &looked_at);
    assert_int_equal(agree, looked_at);
    return size;
}

static char folder[] = "/tmp/test_dataset.XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    errors = read_errors_new(false);
    return errors && mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    char command[64];
    read_errors_free(errors);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static const char *in_folder(const char *name)
{
    static char path[2][256];
    static int turn;
    turn = !turn;
    snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
    return path[turn];
}

static void write_bytes(const char *name, const void *bytes, size_t size)
{
    FILE *file = fopen(in_folder(name), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void copy_png(const char *from, const char *name)
{
    char source[256];
    uint8_t bytes[4096];
    snprintf(source, sizeof source, "tests/data/png/%s.png", from);
    FILE *file = fopen(source, "rb");
    assert_non_null(file);
    write_bytes(name, bytes, fread(bytes, 1, sizeof bytes, file));
    fclose(file);
}

static void assert_refused(const char *name, const char *format, const char *split,
                           const char *message)
{
    assert_null(open_set(in_folder(name), format, split, 0));
    if (!strstr(fail_message(), message) || !strstr(fail_message(), folder))
        fail_msg("%s: %s", name, fail_message());
}

enum { RECORD = 3073 };

static void cifar10(void **state)
{
    (void)state;
    static uint8_t records[3][RECORD];
    for (int i = 0; i < 3; i++) {
        records[i][0] = (uint8_t)(3 * i + 3);
        for (int k = 1; k < RECORD; k++)
            records[i][k] = (uint8_t)(k / 4 + i);
    }
    mkdir(in_folder("cifar"), 0755);
    write_bytes("cifar/data_batch_1.bin", records[0], sizeof records[0]);
    write_bytes("cifar/data_batch_2.bin", records[1], 2 * sizeof records[0]);
    write_bytes("cifar/data_batch_3.bin", records[0], sizeof records[0]);
    write_bytes("cifar/data_batch_5.bin", records[0], sizeof records[0]);
    assert_refused("cifar", "auto", "train", "cifar: has no data_batch_4.bin");
    write_bytes("cifar/data_batch_4.bin", records[0], sizeof records[0]);
    struct dataset *set = open_set(in_folder("cifar"), "auto", "train", 0);
    assert_non_null(set);
    assert_int_equal(dataset_count(set), 6);
    assert_int_equal(dataset_classes(set), 10);
    assert_int_equal(native_size(set), 32);
    struct sample image = {0};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dataset_get(set, i, &image), 0);
        assert_int_equal(image.label, records[i][0]);
        assert_true(image.width == 32 && image.height == 32);
        for (int p = 0; p < 1024; p++)
            for (int c = 0; c < 3; c++)
                assert_int_equal(image.bytes[3 * p + c], records[i][1 + 1024 * c + p]);
    }
    assert_refused("cifar", "auto", "test", "cifar has no test part (train, test, val)");
    assert_refused("cifar", "auto", "unlabeled", "cifar has no unlabeled part");

    assert_null(dataset_class_names(set));
    dataset_close(set);
    static const char names[] = "a\nb\r\nc\nd\ne\nf\ng\nh\ni\nj\n\n";
    write_bytes("cifar/batches.meta.txt", names, sizeof names - 1);
    set = open_set(in_folder("cifar"), "auto", "train", 0);
    assert_non_null(set);
    assert_string_equal(dataset_class_names(set)[1], "b");
    assert_string_equal(dataset_class_names(set)[9], "j");
    dataset_close(set);
    write_bytes("cifar/batches.meta.txt", names, 9);
    assert_refused("cifar", "auto", "train", "batches.meta.txt: 4 names of 10 classes");
    remove(in_folder("cifar/batches.meta.txt"));

    write_bytes("cifar/test_batch.bin", records, sizeof records - 1);
    assert_refused("cifar", "cifar10", "test", "test_batch.bin: 9218 bytes are no whole number");
    write_bytes("cifar/test_batch.bin", records, 0);
    assert_refused("cifar", "cifar10", "test", "test_batch.bin: 0 bytes are no whole number");
    records[2][0] = 10;
    write_bytes("cifar/test_batch.bin", records, sizeof records);
    assert_refused("cifar", "cifar10", "test", "test_batch.bin: record 2 has label 10");
    remove(in_folder("cifar/test_batch.bin"));
    mkdir(in_folder("cifar/test_batch.bin"), 0755);
    assert_refused("cifar", "cifar10", "test", "test_batch.bin: not a regular file");
}

static void folders(void **state)
{
    (void)state;
    const char *const names[] = {"set",
                                 "set/train",
                                 "set/train/b",
                                 "set/train/Z",
                                 "set/train/a",
                                 "set/train/.hidden",
                                 "set/train/a/deeper.png",
                                 "set/plain"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        mkdir(in_folder(names[i]), 0755);
    copy_png("rgb8", "set/train/b/1.png");
    copy_png("grey8", "set/train/a/2.PNG");
    copy_png("palette4", "set/train/a/10.png");
    copy_png("rgba8", "set/train/Z/x.png");
    copy_png("rgba8", "set/train/.hidden/x.png");
    write_bytes("set/train/a/notes.txt", "hello", 5);
    write_bytes("set/train/a/.0.png", "hello", 5);
    struct dataset *set = open_set(in_folder("set"), "auto", "train", 0);
    assert_non_null(set);
    assert_int_equal(dataset_count(set), 4);
    assert_int_equal(dataset_classes(set), 3);
    assert_int_equal(native_size(set), 0); /* the image has 13 x 11 pixels */
    /* The order is that of bytes: Z, a, b; and 10.png before 2.PNG. */
    const char *const files[] = {"rgba8", "palette4", "grey8", "rgb8"};
    const int labels[] = {0, 1, 1, 2};
    struct sample image = {0}, expected = {0};
    for (int i = 0; i < 4; i++) {
        char path[256];
        snprintf(path, sizeof path, "tests/data/png/%s.png", files[i]);
        assert_int_equal(dataset_get(set, i, &image), 0);
        assert_int_equal(image.label, labels[i]);
        expected.file = path;
        assert_int_equal(sample_read_file(&expected), 0);
        assert_int_equal(image.size, expected.size);
        assert_memory_equal(image.bytes, expected.bytes, image.size);
    }
    sample_free(&expected);
    dataset_close(set);

    /* Without sub-folders there are no labels. */
    assert_refused("set/plain", "auto", "train", "no PNG, JPEG, WebP, TIFF, BMP or PNM file");
    copy_png("grey1", "set/plain/1.png");
    assert_refused("set/plain", "folder", "test", "plain has no test part (train, test, val)");
    set = open_set(in_folder("set/plain"), "folder", "train", 0);
    assert_non_null(set);
    assert_int_equal(dataset_classes(set), 0);
    assert_int_equal(dataset_get(set, 0, &image), 0);
    assert_int_equal(image.label, -1);
    dataset_close(set);
    sample_free(&image);

    assert_refused("nowhere", "auto", "train", "No such file");
    assert_refused("nowhere", "folder", "train", "No such file");
    assert_refused("set/plain/1.png", "auto", "train", "no folder, archive");
    assert_null(open_set(folder, "tiff", "train", 0));
    assert_non_null(strstr(fail_message(), "unknown format 'tiff'"));
}

/* Every image must be a function of its split and number, labels must be balanced, and no two
 * images may be equal. */
static void shapes(void **state)
{
    (void)state;
    struct dataset *train = open_set("shapes", "auto", "train", 0);
    struct dataset *test = open_set("shapes", "auto", "test", 0);
    struct dataset *large = open_set("", "shapes", "train", 48);
    assert_true(train && test && large);
    assert_true(dataset_count(train) >= 10000 && dataset_count(test) >= 2000);
    assert_int_equal(dataset_classes(train), 10);
    assert_int_equal(native_size(train), 32);
    assert_int_equal(native_size(large), 48);
    enum { SOME = 200, BYTES = 32 * 32 * 3 };
    struct sample image = {0}, other = {0};
    int counts[10] = {0};
    uint8_t *all = malloc(SOME * BYTES);
    for (int i = 0; i < SOME; i++) {
        assert_int_equal(dataset_get(train, i, &image), 0);
        assert_int_equal(dataset_get(test, i, &other), 0);
        assert_memory_not_equal(image.bytes, other.bytes, BYTES);
        assert_in_range(image.label, 0, 9);
        counts[image.label]++;
        memcpy(all + i * BYTES, image.bytes, BYTES);
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(all + i * BYTES, all + k * BYTES, BYTES);
    }
    for (int c = 0; c < 10; c++)
        assert_int_equal(counts[c], SOME / 10);
    for (int i = SOME - 1; i >= 0; i -= 17) {
        assert_int_equal(dataset_get(train, i, &image), 0);
        assert_memory_equal(image.bytes, all + i * BYTES, BYTES);
        assert_int_equal(dataset_get(large, i, &other), 0);
        assert_int_equal(other.label, image.label);
        assert_int_equal(other.width, 48);
    }
    free(all);
    sample_free(&image);
    sample_free(&other);
    dataset_close(train);
    dataset_close(test);
    dataset_close(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar10),
        cmocka_unit_test(folders),
        cmocka_unit_test(shapes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
