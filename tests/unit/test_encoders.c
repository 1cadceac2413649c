/* Tests encoders of every depth and width as plans alone: names, shapes and sizes against PyTorch's
 * (tests/golden/encoders.py) and against the numbers in the papers. */
#include <malloc.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/fail.h"
#include "frame/frame.h"
#include "frame/frame_io.h"
#include "network/resnet.h"

#include <cmocka.h>

/* AddressSanitizer writes to all memory that it allocates, so only the smallest networks are tested
 * with it. */
#ifdef __SANITIZE_ADDRESS__
enum { WIDEST = 1 };
#else
enum { WIDEST = 4 };
#endif

/* Makes malloc() take large blocks from the system. The parameters are zeros that this test never
 * writes, so they cost nothing if the system provides the memory, which the frame library turns
 * off. If the program cleared them itself, these networks would take minutes. */
static void let_the_system_clear(void)
{
    mallopt(M_MMAP_MAX, 1 << 16);
    mallopt(M_MMAP_THRESHOLD, 1 << 17);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns the CRC-32 of lines NAME:D,D,... in sorted order. */
static int64_t checksum(const struct parameters *p)
{
    char **lines = calloc((size_t)p->n, sizeof *lines);
    assert_non_null(lines);
    for (int i = 0; i < p->n; i++) {
        const struct parameter *a = &p->list[i];
        char text[256];
        int at = snprintf(text, sizeof text, "%s:", a->name);
        for (int d = 0; d < a->ndim; d++)
            at += snprintf(text + at, sizeof text - (size_t)at, d ? ",%lld" : "%lld",
                           (long long)a->shape[d]);
        strcpy(text + at, "\n");
        lines[i] = strdup(text);
        assert_non_null(lines[i]);
    }
    qsort(lines, (size_t)p->n, sizeof *lines, by_text);
    uLong crc = crc32(0, NULL, 0);
    for (int i = 0; i < p->n; i++) {
        crc = crc32(crc, (const Bytef *)lines[i], (uInt)strlen(lines[i]));
        free(lines[i]);
    }
    free(lines);
    return (int64_t)crc;
}

/* Returns the number of learned values, or with `buffers` also counts the means and variances of
 * batch norms. */
static int64_t values(const struct parameters *p, bool buffers)
{
    int64_t n = 0;
    for (int i = 0; i < p->n; i++)
        if (!p->list[i].buffer || (buffers && p->list[i].type == PARAMETER_FLOAT))
            n += (int64_t)p->list[i].count;
    return n;
}

/* Returns the number of multiplications for one image of `size` pixels a side. */
static int64_t products(const struct plan *p, int64_t size)
{
    struct plan_layout l;
    int64_t n = 0;
    assert_int_equal(plan_lay_out(p, 1, size, size, 4, false, false, &l), 0);
    for (int i = 0; i < p->n_operations; i++) {
        const struct plan_operation *op = &p->operations[i];
        const struct plan_map *in = &l.maps[op->in], *out = &l.maps[op->out];
        if (op->kind == PLAN_CONVOLUTION)
            n += out->h * out->w * out->c * in->c * op->kernel * op->kernel;
    }
    plan_layout_clear(&l);
    return n;
}

static void compare(const struct frame *f, int depth, int width, bool sk)
{
    char name[32];
    snprintf(name, sizeof name, "resnet%d/%d%s", depth, width, sk ? "/sk" : "");
    const struct tensor *t = frame_find(f, name);
    if (!t)
        fail_msg("the golden file has no %s", name);
    const int64_t *want = (const int64_t *)t->data;
    struct plan *p = (sk ? resnet_sk_plan : resnet_plan)(depth, width, RESNET_STEM_IMAGENET, 3);
    assert_non_null(p);
    const int64_t have[] = {checksum(&p->parameters), p->parameters.n,
                            values(&p->parameters, false), products(p, 224)};
    static const char *const what[] = {"checksum of names and shapes", "number of tensors",
                                       "number of learned values", "number of products"};
    for (int i = 0; i < 4; i++)
        if (have[i] != want[i])
            fail_msg("%s: its %s is %lld, not %lld", name, what[i], (long long)have[i],
                     (long long)want[i]);
    assert_int_equal(p->channels[p->n_tensors - 1], (depth >= 50 ? 2048 : 512) * width);
    plan_free(p);
}

static void test_as_in_pytorch(void **state)
{
    (void)state;
    static const int depths[] = {18, 34, 50, 101, 152};
    static const int selective[][2] = {{50, 1},  {50, 2},  {101, 1}, {101, 2},
                                       {152, 1}, {152, 2}, {152, 3}};
    struct frame *f = frame_load("tests/golden/encoders.safetensors");
    if (!f)
        fail_msg("%s", fail_message());
    let_the_system_clear();
    for (int width = 1; width <= WIDEST; width *= 2)
        for (size_t d = 0; d < sizeof depths / sizeof *depths; d++)
            compare(f, depths[d], width, false);
    for (size_t i = 0; i < sizeof selective / sizeof *selective; i++)
        if (selective[i][1] <= WIDEST)
            compare(f, selective[i][0], selective[i][1], true);
    frame_free(f);
}

/* Compares with arXiv 2006.10029, table 1, in millions; the table also counts the statistics of
 * batch norms. */
static void test_as_published(void **state)
{
    (void)state;
    static const struct {
        int depth, width, plain, sk; /* 0: not in the table */
    } rows[] = {{50, 1, 24, 35},  {50, 2, 94, 140},   {101, 1, 43, 65}, {101, 2, 170, 257},
                {152, 1, 58, 89}, {152, 2, 233, 354}, {152, 3, 0, 795}};
    let_the_system_clear();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int sk = 0; sk < 2; sk++) {
            const int want = sk ? rows[i].sk : rows[i].plain;
            if (!want || rows[i].width > WIDEST)
                continue;
            struct plan *p = (sk ? resnet_sk_plan : resnet_plan)(rows[i].depth, rows[i].width,
                                                                 RESNET_STEM_IMAGENET, 3);
            assert_non_null(p);
            const double have = (double)values(&p->parameters, true) / 1e6;
            if ((int)lround(have) != want)
                fail_msg("ResNet-%d %dx%s has %.2f million values, not %d", rows[i].depth,
                         rows[i].width, sk ? " with SK" : "", have, want);
            plan_free(p);
        }
}

static void test_the_cifar_stem_is_one_convolution(void **state)
{
    (void)state;
    for (int sk = 0; sk < 2; sk++) {
        struct plan *p = (sk ? resnet_sk_plan : resnet_plan)(50, 2, RESNET_STEM_CIFAR, 3);
        const int stem = parameters_find(&p->parameters, "conv1.weight");
        static const int64_t want[] = {128, 3, 3, 3};
        assert_true(stem >= 0);
        assert_memory_equal(p->parameters.list[stem].shape, want, sizeof want);
        plan_free(p);
    }
}

static void test_refused(void **state)
{
    (void)state;
    assert_null(resnet_sk_plan(34, 1, RESNET_STEM_CIFAR, 3));
    assert_string_equal(fail_message(),
                        "a ResNet-34 has no bottlenecks, so it takes no selective kernels");
    assert_null(resnet_sk_plan(20, 1, RESNET_STEM_CIFAR, 3));
    assert_null(resnet_plan(50, 65, RESNET_STEM_CIFAR, 3));
    assert_null(resnet_sk_plan(50, 0, RESNET_STEM_CIFAR, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_in_pytorch),
        cmocka_unit_test(test_as_published),
        cmocka_unit_test(test_the_cifar_stem_is_one_convolution),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
