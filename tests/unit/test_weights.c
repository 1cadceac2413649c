/* Tests naming.h and derive.h: which encoder is found among the names of other programs, what its
 * tensors are called here, and which network their shapes are of; and safetensors.h on dtypes that
 * frames do not have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fail.h"
#include "frame/frame.h"
#include "frame/frame_io.h"
#include "network/encoder.h"
#include "weights/derive.h"
#include "weights/naming.h"
#include "weights/weights.h"

#include <cmocka.h>

enum { MOST = 64 };

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Finds the encoder among the names, which a 0 ends and which it sorts. */
static int find(struct naming *n, const char **names)
{
    int count = 0;
    while (names[count])
        count++;
    qsort(names, (size_t)count, sizeof *names, by_text);
    return naming_find(n, names, count);
}

static void becomes(const struct naming *n, const char *name, const char *want)
{
    char own[NAMING_TEXT];
    const bool translated = naming_translate(n, name, own);
    if (!want && translated)
        fail_msg("%s became %s", name, own);
    if (!want)
        return;
    if (!translated)
        fail_msg("%s was not translated", name);
    assert_string_equal(own, want);
}

/* The names in the form of torchvision by which an encoder is found, under a prefix. */
static void add_torchvision(const char **names, const char *prefix)
{
    static char room[16][5][64];
    static int used;
    static const char *const found[] = {"conv1.weight", "layer1.0.conv1.weight",
                                        "layer2.0.conv1.weight", "layer3.0.conv1.weight",
                                        "layer4.0.conv1.weight"};
    while (*names)
        names++;
    for (int i = 0; i < 5; i++) {
        snprintf(room[used % 16][i], 64, "%s%s", prefix, found[i]);
        *names++ = room[used % 16][i];
    }
    used++;
}

static void test_prefixes_of_torchvisions_names(void **state)
{
    (void)state;
    static const char *const prefixes[] = {"", "module.", "state_dict.module.encoder_q.",
                                           "model.backbone.", "a.b.c.d.e."};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        const char *names[MOST] = {"fc.weight", "optimizer.state.0.momentum_buffer"};
        struct naming n;
        char name[128];
        add_torchvision(names, prefixes[i]);
        assert_int_equal(find(&n, names), 0);
        assert_string_equal(n.prefix, prefixes[i]);
        snprintf(name, sizeof name, "%slayer3.1.bn2.running_var", prefixes[i]);
        becomes(&n, name, "layer3.1.bn2.running_var");
        snprintf(name, sizeof name, "%slayer2.0.shortcut.1.bias", prefixes[i]);
        becomes(&n, name, "layer2.0.downsample.1.bias");
        becomes(&n, "fc.weight", "fc.weight"); /* a classifier may be outside of the encoder */
        becomes(&n, "optimizer.state.0.momentum_buffer", NULL);
        snprintf(name, sizeof name, "%sfc2.weight", prefixes[i]);
        becomes(&n, name, NULL);
    }
}

static void test_other_forms(void **state)
{
    (void)state;
    struct naming n;
    const char *sequence[] = {"backbone.0.weight",         "backbone.4.0.conv1.weight",
                              "backbone.5.0.conv1.weight", "backbone.6.0.conv1.weight",
                              "backbone.7.0.conv1.weight", NULL};
    assert_int_equal(find(&n, sequence), 0);
    becomes(&n, "backbone.0.weight", "conv1.weight");
    becomes(&n, "backbone.1.running_mean", "bn1.running_mean");
    becomes(&n, "backbone.4.1.conv2.weight", "layer1.1.conv2.weight");
    becomes(&n, "backbone.7.0.downsample.0.weight", "layer4.0.downsample.0.weight");
    const char *tight[] = {"f.0.weight",         "f.2.0.conv1.weight", "f.3.0.conv1.weight",
                           "f.4.0.conv1.weight", "f.5.0.conv1.weight", NULL};
    assert_int_equal(find(&n, tight), 0);
    becomes(&n, "f.2.0.conv1.weight", "layer1.0.conv1.weight");
    becomes(&n, "f.5.1.bn1.bias", "layer4.1.bn1.bias");

    const char *hugging[] = {"resnet.embedder.embedder.convolution.weight",
                             "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight",
                             "resnet.encoder.stages.1.layers.0.layer.0.convolution.weight",
                             "resnet.encoder.stages.2.layers.0.layer.0.convolution.weight",
                             "resnet.encoder.stages.3.layers.0.layer.0.convolution.weight",
                             "classifier.1.weight",
                             NULL};
    assert_int_equal(find(&n, hugging), 0);
    becomes(&n, "resnet.embedder.embedder.normalization.weight", "bn1.weight");
    becomes(&n, "resnet.encoder.stages.3.layers.1.layer.2.normalization.running_var",
            "layer4.1.bn3.running_var");
    becomes(&n, "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight",
            "layer2.0.downsample.0.weight");
    becomes(&n, "classifier.1.bias", "fc.bias");
    becomes(&n, "resnet.encoder.stages.1.layers.0.layer.3.convolution.weight",
            "layer2.0.layer.3.convolution.weight"); /* is refused as superfluous */

    const char *simclr2[] = {"resnet.net.0.0.weight",
                             "resnet.net.1.blocks.0.net.0.weight",
                             "resnet.net.2.blocks.0.net.0.weight",
                             "resnet.net.3.blocks.0.net.0.weight",
                             "resnet.net.4.blocks.0.net.0.weight",
                             "head.layers.0.weight",
                             "head.layers.1.weight",
                             "head.layers.3.weight",
                             "head.layers.4.weight",
                             NULL};
    assert_int_equal(find(&n, simclr2), 0);
    becomes(&n, "resnet.net.0.1.0.bias", "bn1.bias");
    becomes(&n, "resnet.net.4.blocks.2.net.5.0.weight", "layer4.2.bn3.weight");
    becomes(&n, "head.layers.1.running_var", "projector.1.running_var");
    becomes(&n, "head.layers.3.weight", "projector.3.weight");
    becomes(&n, "head.layers.4.bias", "projector.4.bias");

    const char *byol[] = {"predictor.0.weight", "predictor.1.weight", "predictor.3.weight",
                          "projector.0.weight", NULL};
    assert_int_equal(find(&n, byol), 0);
    becomes(&n, "predictor.3.weight", "predictor.3.weight");
    becomes(&n, "predictor.1.running_var", "predictor.1.running_var");
}

static void test_moving_averages_are_passed_over(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"module.encoder_q.", "module.encoder_k."},
                                           {"backbone.", "momentum_backbone."},
                                           {"backbone.", "backbone_momentum."},
                                           {"online_network.", "target_network."},
                                           {"state_dict.", "state_dict_ema."}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const char *names[MOST] = {0};
        struct naming n;
        char part[NAMING_TEXT];
        add_torchvision(names, pairs[i][1]);
        add_torchvision(names, pairs[i][0]);
        assert_int_equal(find(&n, names), 0);
        assert_string_equal(n.prefix, pairs[i][0]);
        assert_string_equal(n.passed, pairs[i][1]);
        naming_part(&n, pairs[i][1], part);
        assert_int_equal(strlen(part), strlen(pairs[i][1]) - 1);
    }
    const char *alone[MOST] = {0};
    struct naming n;
    add_torchvision(alone, "target_network.");
    assert_int_equal(find(&n, alone), 0);
    assert_string_equal(n.prefix, "target_network.");
}

static void test_two_encoders_are_refused(void **state)
{
    (void)state;
    const char *names[MOST] = {0};
    struct naming n;
    add_torchvision(names, "student.");
    add_torchvision(names, "teacher.");
    assert_int_equal(find(&n, names), -1);
    assert_non_null(strstr(fail_message(), "student.* and teacher.*"));
}

static void test_an_incomplete_encoder_is_none(void **state)
{
    (void)state;
    const char *names[] = {"m.conv1.weight", "m.layer1.0.conv1.weight", "m.layer2.0.conv1.weight",
                           "m.layer3.0.conv1.weight", NULL};
    struct naming n;
    assert_int_equal(find(&n, names), 0);
    assert_int_equal(n.form, NAMING_OWN);
    becomes(&n, "m.conv1.weight", NULL);
}

/* Makes a frame with the tensors of a plan. */
static struct frame *frame_of(const struct plan *p)
{
    struct tensor_spec *specs = calloc((size_t)p->parameters.n, sizeof *specs);
    assert_non_null(specs);
    for (int i = 0; i < p->parameters.n; i++) {
        const struct parameter *a = &p->parameters.list[i];
        specs[i] = (struct tensor_spec){
            a->name, a->type == PARAMETER_FLOAT ? DTYPE_F32 : DTYPE_I64, a->ndim, {0}};
        memcpy(specs[i].shape, a->shape, (size_t)a->ndim * sizeof *a->shape);
    }
    struct frame *f = frame_new(specs, p->parameters.n);
    free(specs);
    assert_non_null(f);
    return f;
}

static void test_each_network_is_derived_from_its_shapes(void **state)
{
    (void)state;
    static const char *const archs[] = {"resnet18",  "resnet34", "resnet50",   "resnet101",
                                        "resnet152", "resnet1d", "resnet1d34", "resnet1d50"};
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        for (int variant = 0; variant < 4; variant++) {
            struct encoder e = {.arch = archs[i],
                                .width = 0.0625,
                                .stem = variant & 1 ? RESNET_STEM_IMAGENET : RESNET_STEM_CIFAR,
                                .selective = variant & 2,
                                .channels = 5},
                           found;
            normalization_parse("none", &e.normalize);
            struct plan *p = encoder_plan(&e);
            if (!p && e.selective) /* some have no selective kernels */
                continue;
            assert_non_null(p);
            struct frame *f = frame_of(p);
            assert_true(derive_encoder(f, &found));
            assert_null(encoder_difference(&e, &found));
            frame_free(f);
            plan_free(p);
        }
}

/* Writes a safetensors file and returns its path. */
static const char *written(const char *header, const void *data, size_t size)
{
    static char path[64];
    snprintf(path, sizeof path, "build/test_weights.%d", (int)getpid());
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    const uint64_t length = strlen(header);
    for (int i = 0; i < 8; i++)
        fputc((int)(length >> (8 * i) & 255), file);
    fwrite(header, 1, length, file);
    fwrite(data, 1, size, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void test_dtypes_are_converted(void **state)
{
    (void)state;
    const double doubles[] = {0.1, -1e-50};
    const struct {
        double a[2];
        uint16_t half, bfloat, word;
        int8_t small[2];
    } __attribute__((packed)) data = {{doubles[0], doubles[1]}, 0x3e00, 0x3fc0, 65535, {-3, 4}};
    const char *path =
        written("{\"conv1.a\":{\"dtype\":\"F64\",\"shape\":[2],\"data_offsets\":[0,16]},"
                "\"conv1.b\":{\"dtype\":\"F16\",\"shape\":[],\"data_offsets\":[16,18]},"
                "\"conv1.c\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[18,20]},"
                "\"bn1.d\":{\"dtype\":\"U16\",\"shape\":[1],\"data_offsets\":[20,22]},"
                "\"bn1.e\":{\"dtype\":\"I8\",\"shape\":[2],\"data_offsets\":[22,24]},"
                "\"other\":{\"dtype\":\"C64\",\"shape\":[0],\"data_offsets\":[24,24]}}",
                &data, sizeof data);
    struct frame *f = weights_load(path);
    if (!f)
        fail_msg("%s", fail_message());
    const float *a = frame_find(f, "conv1.a")->data;
    assert_true(a[0] == 0.1F && a[1] == 0);
    assert_true(*(float *)frame_find(f, "conv1.b")->data == 1.5F);
    assert_true(*(float *)frame_find(f, "conv1.c")->data == 1.5F);
    assert_int_equal(*(int64_t *)frame_find(f, "bn1.d")->data, 65535);
    assert_int_equal(((int64_t *)frame_find(f, "bn1.e")->data)[0], -3);
    assert_string_equal(frame_meta(f, "unread"), "other");
    frame_free(f);
    unlink(path);
}

static void test_bad_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *header, *why;
        size_t size;
    } files[] = {
        {"{\"conv1.a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         "truncated in the data", 7},
        {"{\"conv1.a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", "trailing bytes",
         9},
        {"{\"conv1.a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}",
         "its shape and dtype make 12", 8},
        {"{\"conv1.a\":{\"dtype\":\"F32\",\"shape\":[-2],\"data_offsets\":[0,8]}}", "impossible",
         8},
        {"{\"conv1.a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,8]}"
         "}",
         "impossible", 8},
        {"{\"conv1.a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", "gap", 8},
        {"{\"conv1.a\":{\"dtype\":\"F8\",\"shape\":[8],\"data_offsets\":[0,8]}}", "conv1.a is F8",
         8},
        {"{\"conv1.a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"__metadata__\":{"
         "\"a\":1}}",
         "is not a string", 8},
        {"{\"conv1.a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"__metadata__\":{"
         "\"crc32\":\"00000000\"}}",
         "CRC-32", 8},
        {"{\"conv1.a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", "lacks a dtype", 8},
        {"[1]", "bad header", 0},
        {"{]", "bad header", 0},
    };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        const char *path = written(files[i].header, "abcdefghi", files[i].size);
        if (weights_load(path))
            fail_msg("%s was taken", files[i].header);
        if (!strstr(fail_message(), files[i].why) || !strstr(fail_message(), path))
            fail_msg("%s: %s", files[i].header, fail_message());
        unlink(path);
    }
    const double large = 1e300;
    const char *path = written(
        "{\"conv1.a\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[0,8]}}", &large, 8);
    assert_null(weights_load(path));
    assert_non_null(strstr(fail_message(), "no float32 holds"));
    unlink(path);
}

/* Writes a text into the folder of the test. */
static void put(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void test_a_config_beside_the_weights_is_read(void **state)
{
    (void)state;
    static const char *const names[] = {"embedder.embedder.convolution.weight",
                                        "encoder.stages.0.layers.0.layer.0.convolution.weight",
                                        "encoder.stages.1.layers.0.layer.0.convolution.weight",
                                        "encoder.stages.2.layers.0.layer.0.convolution.weight",
                                        "encoder.stages.3.layers.0.layer.0.convolution.weight"};
    char folder[] = "build/test_weights.XXXXXX", path[80], config[80];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    snprintf(config, sizeof config, "%s/config.json", folder);
    struct tensor_spec specs[5];
    for (int i = 0; i < 5; i++)
        specs[i] = (struct tensor_spec){names[i], DTYPE_F32, 4, {2, 2, 3, 3}};
    struct frame *f = frame_new(specs, 5);
    assert_int_equal(frame_save(f, path), 0);
    frame_free(f);
    static const char *const fine[] = {
        "", "{}", "[]", "{\"hidden_act\":\"relu\",\"downsample_in_bottleneck\":false}"};
    for (size_t i = 0; i < sizeof fine / sizeof *fine; i++) {
        put(config, fine[i]);
        assert_non_null(f = weights_load(path));
        assert_non_null(frame_find(f, "layer4.0.conv1.weight"));
        frame_free(f);
    }
    put(config, "{\"downsample_in_bottleneck\":true}");
    assert_null(weights_load(path));
    assert_non_null(strstr(fail_message(), "downsample_in_bottleneck"));
    put(config, "{\"hidden_act\":\"gelu\"}");
    assert_null(weights_load(path));
    assert_non_null(strstr(fail_message(), "hidden_act gelu"));
    unlink(config);
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prefixes_of_torchvisions_names),
        cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_moving_averages_are_passed_over),
        cmocka_unit_test(test_two_encoders_are_refused),
        cmocka_unit_test(test_an_incomplete_encoder_is_none),
        cmocka_unit_test(test_each_network_is_derived_from_its_shapes),
        cmocka_unit_test(test_dtypes_are_converted),
        cmocka_unit_test(test_bad_files_are_refused),
        cmocka_unit_test(test_a_config_beside_the_weights_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
