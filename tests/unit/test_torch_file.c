/* Tests the reader of PyTorch's files against values of PyTorch (tests/golden/torch_files.py), and
 * with damaged and hostile files. With two arguments it is a program that reads the first file and
 * writes its tensors as a frame into the second one, for tests/full/torch_files.sh. */
#include "python/torch_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "base/warn.h"
#include "frame/frame_io.h"

#include <cmocka.h>

static const char golden_path[] = "tests/golden/torch_files.safetensors";
static char scratch[] = "/tmp/simclr-torch.XXXXXX";

static int convert(const char *from, const char *to)
{
    struct frame *f = torch_file_load(from, NULL, NULL);
    const int status = f && frame_save(f, to) == 0 ? 0 : warn_failure();
    frame_free(f);
    return status;
}

static uint8_t *read_bytes(const char *path, size_t *n)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t *bytes = malloc(1 << 20);
    assert_non_null(bytes);
    *n = fread(bytes, 1, 1 << 20, file);
    fclose(file);
    return bytes;
}

/* Writes the bytes into the scratch file and returns its path. */
static const char *write_bytes(const void *bytes, size_t n)
{
    FILE *file = fopen(scratch, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, n, file), n);
    assert_int_equal(fclose(file), 0);
    return scratch;
}

static void assert_refused(const void *bytes, size_t n, const char *message)
{
    assert_null(torch_file_load(write_bytes(bytes, n), NULL, NULL));
    if (!strstr(fail_message(), message))
        fail_msg("\"%s\" does not contain \"%s\"", fail_message(), message);
}

/* ---- files of PyTorch ---- */

static const char *const files[] = {"types_zip",      "types_old",     "views_zip",
                                    "views_old",      "trainer_zip",   "trainer_old",
                                    "parameters_zip", "parameters_old"};
enum { N_FILES = sizeof files / sizeof *files };

static void values_are_those_of_pytorch(void **state)
{
    (void)state;
    struct frame *golden = frame_load(golden_path);
    assert_non_null(golden);
    int compared = 0;
    for (int i = 0; i < N_FILES; i++) {
        char path[128], name[256];
        snprintf(path, sizeof path, "tests/data/torch/%s.pt", files[i]);
        assert_true(torch_file_recognize(path));
        struct frame *f = torch_file_load(path, NULL, NULL);
        if (!f)
            fail_msg("%s", fail_message());
        for (int k = 0; k < f->n_tensors; k++) {
            const struct tensor *t = &f->tensors[k];
            snprintf(name, sizeof name, "%s/%s", files[i], t->name);
            const struct tensor *want = frame_need(golden, name, t->dtype, t->ndim, t->shape);
            if (!want)
                fail_msg("%s", fail_message());
            assert_memory_equal(t->data, want->data, t->bytes);
        }
        compared += f->n_tensors;
        frame_free(f);
    }
    assert_int_equal(compared, golden->n_tensors);
    frame_free(golden);
}

static bool is_state(const char *name, void *context)
{
    ++*(int *)context;
    return strncmp(name, "state_dict.module.1.", 20) == 0;
}

static void only_wanted_tensors_are_read(void **state)
{
    (void)state;
    int asked = 0;
    struct frame *f = torch_file_load("tests/data/torch/trainer_zip.pt", is_state, &asked);
    assert_non_null(f);
    assert_int_equal(f->n_tensors, 5);
    assert_non_null(frame_find(f, "state_dict.module.1.running_mean"));
    assert_int_equal(frame_find(f, "state_dict.module.1.num_batches_tracked")->dtype, DTYPE_I64);
    assert_true(asked > 10);
    frame_free(f);
}

/* ---- made by hand ---- */

#define STORAGE(KIND, COUNT)                                                                       \
    "(X\7\0\0\0storagectorch\n" KIND "\nX\1\0\0\0000X\3\0\0\0cpuK" COUNT "tQ"
#define TENSOR(OFFSET, SHAPE, STRIDE)                                                              \
    "ctorch._utils\n_rebuild_tensor_v2\n(" STORAGE("FloatStorage", "\4") "K" OFFSET "(" SHAPE      \
                                                                         "t(" STRIDE "t\x89NtR"
#define START "\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\2M\xe9\3.\x80\2}X\r\0\0\0little_endian"
#define KEYS "\x80\2]X\1\0\0\0000a."
#define DATA "\4\0\0\0\0\0\0\0\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40" /* 1, 2, 3, 4 */
/* A file of the old form with this object. */
#define OLD(OBJECT) START "\x88s." OBJECT KEYS DATA
#define BYTES(TEXT) (TEXT), sizeof(TEXT) - 1
#define W "\x80\2}X\1\0\0\0w"

static void tensors_made_by_hand(void **state)
{
    (void)state;
    struct frame *f = torch_file_load(
        write_bytes(BYTES(OLD(W TENSOR("\1", "K\2K\1", "K\2J\xff\xff\xff\x7f") "s."))), NULL, NULL);
    if (!f)
        fail_msg("%s", fail_message());
    const struct tensor *t = frame_need(f, "w", DTYPE_F32, 2, (int64_t[]){2, 1});
    assert_non_null(t);
    assert_true(((float *)t->data)[0] == 2 && ((float *)t->data)[1] == 4);
    frame_free(f);
    /* uint16 of newer versions, in a storage without a type */
    static const char v3[] = OLD(
        W "ctorch._utils\n_rebuild_tensor_v3\n((X\7\0\0\0storagectorch.storage\nUntypedStorage\n"
          "X\1\0\0\0000X\3\0\0\0cpuK\4tQK\0K\2\x85K\1\x85\x89Nctorch\nuint16\ntRs.");
    f = torch_file_load(write_bytes(v3, sizeof v3 - 1), NULL, NULL);
    if (!f)
        fail_msg("%s", fail_message());
    assert_int_equal(((int64_t *)frame_find(f, "w")->data)[1], 0x3f80);
    frame_free(f);
    /* an OrderedDict of Python 2, whose items are arguments */
    f = torch_file_load(write_bytes(BYTES(OLD("\x80\2ccollections\nOrderedDict\n(](](U\1w" TENSOR(
                            "\0", "K\4", "K\1") "eetR."))),
                        NULL, NULL);
    if (!f)
        fail_msg("%s", fail_message());
    assert_non_null(frame_find(f, "w"));
    frame_free(f);
}

static void damaged_tensors_are_refused(void **state)
{
    (void)state;
    assert_refused(BYTES(OLD(W TENSOR("\1", "K\4", "K\1") "s.")),
                   "w does not fit into its storage");
    assert_refused(BYTES(OLD(W TENSOR("\0", "K\2K\2", "K\3K\1") "s.")), "w does not fit");
    assert_refused(BYTES(OLD(W TENSOR("\0", "K\2J\xff\xff\xff\x7f",
                                      "K\0\x8a\x8\xff\xff\xff\xff\xff\xff\xff\x7f") "s.")),
                   "w does not fit");
    assert_refused(BYTES(OLD(W TENSOR("\0", "J\xff\xff\xff\xff", "K\1") "s.")), "w has no shape");
    assert_refused(BYTES(OLD(W TENSOR("\0", "K\4", "K\1K\1") "s.")), "w has no shape");
    assert_refused(BYTES(OLD(W TENSOR("\0", "K\1K\1K\1K\1K\1K\1K\1K\1K\1",
                                      "K\1K\1K\1K\1K\1K\1K\1K\1K\1") "s.")),
                   "more than 8 dimensions");
    assert_refused(BYTES(OLD(W TENSOR("\0", "J\xff\xff\xff\x7f", "K\0") "s.")),
                   "repeat the 16 bytes of their storages too often");
    assert_refused(BYTES(OLD(W "cevil\nmake\n(" STORAGE("FloatStorage", "\4") "tRs.")),
                   "tensor w is made by evil.make");
    assert_refused(BYTES(OLD("\x80\2" TENSOR("\0", "K\4", "K\1") ".")), "a tensor without a name");
    assert_refused(BYTES(OLD("\x80\2}X\1\0\0\0\n" TENSOR("\0", "K\4", "K\1") "s.")),
                   "no printable UTF-8");
    assert_refused(BYTES(OLD("\x80\2}X\1\0\0\0\xff" TENSOR("\0", "K\4", "K\1") "s.")),
                   "no printable UTF-8");
    assert_refused(BYTES(OLD("\x80\2}X\3\0\0\0a\0b" TENSOR("\0", "K\4", "K\1") "s.")),
                   "no printable UTF-8");
    assert_refused(BYTES(OLD("\x80\2}X\x0c\0\0\0__metadata__" TENSOR("\0", "K\4", "K\1") "s.")),
                   "no tensor with the name __metadata__");
    assert_refused(
        BYTES(OLD(W TENSOR("\0", "K\4", "K\1") "sX\1\0\0\0w" TENSOR("\0", "K\4", "K\1") "s.")),
        "tensor w is there twice");
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    assert_refused(BYTES(START "\x89s.N."), "big-endian");
    assert_refused(BYTES(START "s."), "too few values");
    assert_refused(BYTES("\x80\2\x8a\nl\xfc\x9c\x46\xf9 j\xa8P\x19.\x80\2M\xe8\3."), "a version");
    assert_refused(BYTES(START "\x88s." W TENSOR("\0", "K\4", "K\1") "s.\x80\2].x"),
                   "is not listed");
    assert_refused(BYTES(START "\x88s." W TENSOR("\0", "K\4", "K\1") "s." KEYS "\5\0\0\0\0\0\0\0"
                                                                     "0123456789abcdef"),
                   "has 5 values at byte");
    assert_refused(BYTES("\x80\2N."), "not a file of torch.save()");
    assert_refused(BYTES("PK\3\4"), "damaged zip archive");
    uint8_t tar[512] = "sys_info";
    memcpy(tar + 257, "ustar", 5);
    assert_refused(tar, sizeof tar, "the tar form of PyTorch 0.1");
    assert_true(torch_file_recognize(scratch));
    assert_false(torch_file_recognize(golden_path));
    assert_false(torch_file_recognize("/dev/null"));
    assert_false(torch_file_recognize("nothing/there"));
}

static void every_truncation_is_noticed(void **state)
{
    (void)state;
    for (int i = 0; i < N_FILES; i += 6) { /* a zip archive and an old file */
        char path[128];
        snprintf(path, sizeof path, "tests/data/torch/%s.pt", files[i + i / 6]);
        size_t size;
        uint8_t *bytes = read_bytes(path, &size);
        for (size_t n = 0; n < size; n++)
            assert_null(torch_file_load(write_bytes(bytes, n), NULL, NULL));
        free(bytes);
    }
}

/* Each byte of a small archive is changed. Its CRCs notice what is in its entries. */
static void changed_values_are_noticed(void **state)
{
    (void)state;
    size_t size;
    uint8_t *bytes = read_bytes("tests/data/torch/parameters_zip.pt", &size);
    struct frame *golden = torch_file_load("tests/data/torch/parameters_zip.pt", NULL, NULL);
    assert_non_null(golden);
    for (size_t at = 0; at < size; at++) {
        bytes[at] ^= 0x10;
        struct frame *f = torch_file_load(write_bytes(bytes, size), NULL, NULL);
        bytes[at] ^= 0x10;
        for (int k = 0; f && k < f->n_tensors; k++) {
            const struct tensor *t = &f->tensors[k], *want = frame_find(golden, t->name);
            assert_non_null(want);
            assert_memory_equal(t->data, want->data, want->bytes);
        }
        frame_free(f);
    }
    frame_free(golden);
    free(bytes);
}

/* ---- hostile objects ---- */

static void containers_in_each_other_are_bounded(void **state)
{
    (void)state;
    char bytes[4096] = START "\x88s.\x80\2";
    size_t n = sizeof START "\x88s.\x80\2" - 1;
    memset(bytes + n, ']', 200);
    memset(bytes + n + 200, 'a', 199);
    bytes[n + 399] = '.';
    memcpy(bytes + n + 400, BYTES("\x80\2].N"));
    assert_refused(bytes, n + 404, "containers more than 64 deep in each other");
    /* 40 lists that each hold the one before twice */
    char *at = bytes + n;
    at += sprintf(at, "](NNeq%c", 1);
    for (int i = 1; i < 40; i++)
        at += sprintf(at, "0](h%ch%ceq%c", i, i, i + 1);
    memcpy(at, BYTES(".\x80\2]."));
    assert_refused(bytes, (size_t)(at - bytes) + 5, "values in each other");
    /* one that holds itself holds nothing else */
    struct frame *f =
        torch_file_load(write_bytes(BYTES(START "\x88s.\x80\2]q\0h\0a.\x80\2].")), NULL, NULL);
    assert_non_null(f);
    assert_int_equal(f->n_tensors, 0);
    frame_free(f);
}

int main(int argc, char **argv)
{
    if (argc == 3)
        return convert(argv[1], argv[2]);
    const int fd = mkstemp(scratch);
    if (fd < 0)
        return 1;
    close(fd);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_pytorch),
        cmocka_unit_test(only_wanted_tensors_are_read),
        cmocka_unit_test(tensors_made_by_hand),
        cmocka_unit_test(damaged_tensors_are_refused),
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(every_truncation_is_noticed),
        cmocka_unit_test(changed_values_are_noticed),
        cmocka_unit_test(containers_in_each_other_are_bounded),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove(scratch);
    return failed;
}
