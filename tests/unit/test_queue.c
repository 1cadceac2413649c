/* Tests the losses with a queue of negatives (ntxent.h, moco_loss.h) and the queue itself: against
 * plain loops in float64, against finite differences, and by hand. */
/* This header comes before cmocka.h, which makes fail a macro. */
#include "base/fail.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/random.h"
#include "engine/gemm_kernel.h"
#include "gemm_8x12.h"
#include "loss/moco_loss.h"
#include "loss/ntxent.h"

/* One batch with a queue. */
struct batch {
    int n, d, rows; /* rows of z, columns, rows of the queue */
    double temperature;
    bool raw, momentum; /* --no-normalize; positives from a momentum encoder */
    float *z, *target, *queue;
};

static float *draw(int n, int d, double scale, const float *near, uint64_t seed)
{
    float *z = malloc((size_t)(n * d + 1) * sizeof *z);
    struct random r;
    random_start(&r, seed, RANDOM_INIT, 0, 0, 0);
    for (int i = 0; i < n * d; i++)
        z[i] = (float)(scale * random_normal(&r) +
                       (near ? 0.7 * (double)near[i / d / 2 * 2 * d + i % d] : 0));
    return z;
}

static void fill(struct batch *b, double scale)
{
    float *near = draw(b->n, b->d, scale, NULL, 1);
    struct projection_queue q = {.size = b->rows, .d = b->d};
    b->z = draw(b->n, b->d, scale, near, 2);
    b->target = b->momentum ? draw(b->n, b->d, scale, near, 3) : NULL;
    b->queue = calloc((size_t)(b->rows * b->d + 1), sizeof *b->queue);
    q.rows = b->queue;
    float *rows = draw(b->rows, b->d, scale, NULL, 4);
    projection_queue_push(&q, rows, b->rows, !b->raw);
    free(rows);
    free(near);
}

static void release(struct batch *b)
{
    free(b->z);
    free(b->target);
    free(b->queue);
}

static void run(const struct batch *b, const struct gemm_kernel *product, int threads, float *dz,
                struct loss_metrics *m)
{
    const struct loss_input in = {.z = b->z,
                                  .target = b->target,
                                  .n = b->n,
                                  .d = b->d,
                                  .views = 2,
                                  .normalize = !b->raw,
                                  .threads = threads,
                                  .product = product};
    const struct projection_queue q = {b->queue, b->rows, b->d, b->rows};
    if (b->momentum)
        assert_int_equal(moco_loss(&in, b->temperature, &q, dz, m), 0);
    else
        assert_int_equal(ntxent(&in, b->temperature, &q, dz, m), 0);
}

/* ---- the reference ---- */

/* Sets u (n, d) to the rows of z, divided by their lengths. */
static double *normalized(const struct batch *b, const float *z, double *lengths)
{
    double *u = malloc((size_t)(b->n * b->d) * sizeof *u);
    for (int i = 0; i < b->n; i++) {
        double square = 0;
        for (int k = 0; k < b->d; k++)
            square += (double)z[i * b->d + k] * (double)z[i * b->d + k];
        lengths[i] = b->raw ? 1 : sqrt(square);
        for (int k = 0; k < b->d; k++)
            u[i * b->d + k] = (double)z[i * b->d + k] / lengths[i];
    }
    return u;
}

static double dot(const double *a, const double *b, int d)
{
    double sum = 0;
    for (int k = 0; k < d; k++)
        sum += a[k] * b[k];
    return sum;
}

/* The candidates of a row: the other rows or the target, then the queue. Sets c to p - 1 or p of
 * each. Returns the loss. */
static double row_loss(const double *s, int candidates, int positive, double *c, double *entropy)
{
    double most = -INFINITY, sum = 0, others = 0;
    for (int j = 0; j < candidates; j++)
        most = fmax(most, s[j]);
    for (int j = 0; j < candidates; j++)
        sum += exp(s[j] - most);
    for (int j = 0; j < candidates; j++) {
        c[j] = exp(s[j] - most) / sum;
        others += j == positive ? 0 : c[j];
        *entropy -= c[j] > 0 ? c[j] * (s[j] - most - log(sum)) : 0;
    }
    c[positive] = -others;
    return c[positive] > -0.5 ? -log1p(-others) : most + log(sum) - s[positive];
}

static void reference(const struct batch *b, double *dz, struct loss_metrics *m)
{
    const int n = b->n, d = b->d, own = b->momentum ? 1 : n, all = own + b->rows;
    double *lengths = malloc((size_t)n * sizeof *lengths);
    double *target_lengths = malloc((size_t)n * sizeof *lengths);
    double *u = normalized(b, b->z, lengths);
    double *target = b->momentum ? normalized(b, b->target, target_lengths) : u;
    double *keys = malloc((size_t)(b->rows * d + 1) * sizeof *keys);
    double *s = malloc((size_t)all * sizeof *s), *c = malloc((size_t)all * sizeof *c);
    double *du = calloc((size_t)(n * d), sizeof *du);
    for (int i = 0; i < b->rows * d; i++)
        keys[i] = (double)b->queue[i];
    *m = (struct loss_metrics){0};
    for (int i = 0; i < n; i++) {
        const int positive = b->momentum ? 0 : i ^ 1;
        double far = -INFINITY;
        for (int j = 0; j < all; j++) {
            const double *k = j >= own      ? keys + (j - own) * d
                              : b->momentum ? target + (i ^ 1) * d
                                            : u + j * d;
            s[j] = dot(u + i * d, k, d) / b->temperature;
            if (!b->momentum && j == i)
                s[j] = -INFINITY;
            far = j == positive ? far : fmax(far, s[j]);
        }
        m->loss += row_loss(s, all, positive, c, &m->entropy) / n;
        m->accuracy += (s[positive] > far) / (double)n;
        for (int j = 0; j < all; j++) {
            const double *k = j >= own      ? keys + (j - own) * d
                              : b->momentum ? target + (i ^ 1) * d
                                            : u + j * d;
            for (int x = 0; x < d; x++)
                du[i * d + x] += c[j] * k[x] / b->temperature / n;
            for (int x = 0; x < d && j < own && !b->momentum; x++)
                du[j * d + x] += c[j] * u[i * d + x] / b->temperature / n;
        }
    }
    m->entropy /= n;
    for (int i = 0; i < n; i++) {
        const double along = b->raw ? 0 : dot(u + i * d, du + i * d, d);
        for (int x = 0; x < d; x++)
            dz[i * d + x] = (du[i * d + x] - along * u[i * d + x]) / lengths[i];
    }
    free(lengths);
    free(target_lengths);
    if (target != u)
        free(target);
    free(u);
    free(keys);
    free(s);
    free(c);
    free(du);
}

/* ---- comparison ---- */

static void compare(const struct batch *b, const struct gemm_kernel *kernel, const double *want,
                    const struct loss_metrics *expect, double bound)
{
    const int count = b->n * b->d;
    double far = 0, most = 0;
    float *dz = malloc((size_t)count * sizeof *dz);
    struct loss_metrics m;
    run(b, kernel, 1, dz, &m); /* test_threads() shows that one thread is enough */
    for (int i = 0; i < count; i++) {
        far = fmax(far, fabs((double)dz[i] - want[i]));
        most = fmax(most, fabs(want[i]));
    }
    if (fabs(m.loss - expect->loss) > bound * fmax(1, expect->loss) ||
        fabs(m.entropy - expect->entropy) > bound * fmax(1, expect->entropy) ||
        fabs(m.accuracy - expect->accuracy) > 1e-9 || !(far <= bound * fmax(most, 1e-3)))
        fail_msg("%d x %d, queue of %d, T %g%s%s, %s: loss %.9g, not %.9g; dz off by %g of %g; "
                 "entropy %.9g, not %.9g; accuracy %g, not %g",
                 b->n, b->d, b->rows, b->temperature, b->raw ? ", raw" : "",
                 b->momentum ? ", momentum" : "", kernel->name, m.loss, expect->loss, far, most,
                 m.entropy, expect->entropy, m.accuracy, expect->accuracy);
    free(dz);
}

/* Sizes n, d, rows of the queue: none, below n, n, above n, and around the tiles' 192. */
static const int sizes[][3] = {{4, 3, 1},     {4, 7, 4},       {4, 128, 1000}, {10, 17, 5},
                               {34, 33, 191}, {38, 16, 192},   {40, 5, 193},   {192, 32, 385},
                               {194, 9, 96},  {198, 129, 200}, {386, 31, 577}, {500, 64, 1},
                               {6, 1, 0},     {200, 12, 0}};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void each(bool raw, bool momentum, double temperature, double bound)
{
    for (int i = 0; i < SIZES; i++) {
        if (sizes[i][0] > 200 && temperature < 0.1)
            continue; /* sizes and temperatures make no difference to each other */
        struct batch b = {.n = sizes[i][0],
                          .d = sizes[i][1],
                          .rows = sizes[i][2],
                          .temperature = temperature,
                          .raw = raw,
                          .momentum = momentum};
        fill(&b, raw ? 0.8 / sqrt(b.d) : 1);
        double *want = malloc((size_t)(b.n * b.d) * sizeof *want);
        struct loss_metrics expect;
        reference(&b, want, &expect);
        const struct gemm_kernel *kernel = &gemm_8x12;
        for (int64_t k = 0; kernel; kernel = gemm_kernel_at(k++))
            if (kernel->values == GEMM_FLOAT && kernel->usable())
                compare(&b, kernel, want, &expect, bound);
        free(want);
        release(&b);
    }
}

static void test_float64(void **state)
{
    (void)state;
    for (int momentum = 0; momentum < 2; momentum++) {
        each(false, momentum, 0.5, 1e-6);
        each(false, momentum, 0.1, 1e-6);
        each(true, momentum, 0.5, 1e-6);
    }
}

/* Similarities are up to 1000, and beyond that where rows keep their lengths. A float's rounding of a
 * similarity counts as many times as 1 / T says. */
static void test_extreme_temperature(void **state)
{
    (void)state;
    for (int momentum = 0; momentum < 2; momentum++) {
        each(false, momentum, 0.016, 1e-5);
        each(false, momentum, 0.0156, 1e-5);
        each(false, momentum, 0.001, 4e-5);
        each(true, momentum, 0.01, 2e-5);
        each(false, momentum, 100, 1e-6);
    }
}

/* Two images in the plane and one row in the queue. Row 0's candidates are at similarities 1 (its
 * positive), 0, 0 and -1; the sum over the queue's row alone is the gradient's part along it. */
static void test_by_hand(void **state)
{
    (void)state;
    float z[] = {1, 0, 1, 0, 0, 1, 0, 1}, key[] = {-1, 0}, dz[8];
    struct loss_metrics m;
    struct batch b = {.n = 4, .d = 2, .rows = 1, .temperature = 1, .z = z, .queue = key};
    run(&b, NULL, 1, dz, &m);
    const double e = exp(1);
    const double first = log((e + 2 + 1 / e) / e), second = log((e + 2 + 1) / e);
    assert_true(fabs(m.loss - (first + second) / 2) < 1e-7);
    assert_true(m.accuracy == 1);
    /* Row 0: 2 p of rows 2 and 3 pull it to (0,1), from both sides: as candidates, and as rows. The
     * queue pulls it along its own direction, where a change has no effect. */
    const double p = 1 / (e + 2 + 1 / e), back = 1 / (e + 3);
    assert_true(fabs((double)dz[0]) < 1e-7);
    assert_true(fabs((double)dz[1] - 2 * (p + back) / 4) < 1e-7);
    /* Row 2 is at right angles to the queue's row. */
    assert_true(fabs((double)dz[4] - (2 * (p + back) - back) / 4) < 1e-7);

    /* MoCo: the positives are at similarity 1, the queue's row at -1 and 0. */
    b.momentum = true;
    b.target = z;
    run(&b, NULL, 1, dz, &m);
    assert_true(fabs(m.loss - (log1p(exp(-2)) + log1p(exp(-1))) / 2) < 1e-7);
    assert_true(fabs((double)dz[0]) < 1e-7 && fabs((double)dz[1]) < 1e-7);
    assert_true(fabs((double)dz[4] + 1 / (e + 1) / 4) < 1e-7);
    assert_true(fabs((double)dz[5]) < 1e-7);
}

static void test_finite_differences(void **state)
{
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct batch b = {
            .n = 6, .d = 5, .rows = 9, .temperature = 0.5, .raw = kind & 1, .momentum = kind & 2};
        float dz[30], unused[30];
        struct loss_metrics m, up, down;
        fill(&b, 0.6);
        run(&b, NULL, 1, dz, &m);
        for (int i = 0; i < b.n * b.d; i++) {
            const float saved = b.z[i];
            b.z[i] = saved + 1e-2f;
            const double above = (double)b.z[i];
            run(&b, NULL, 1, unused, &up);
            b.z[i] = saved - 1e-2f;
            const double below = (double)b.z[i];
            run(&b, NULL, 1, unused, &down);
            b.z[i] = saved;
            const double slope = (up.loss - down.loss) / (above - below);
            if (fabs(slope - (double)dz[i]) > 1e-4)
                fail_msg("kind %d, element %d: the loss rises by %g, dz says %g", kind, i, slope,
                         (double)dz[i]);
        }
        release(&b);
    }
}

static void test_threads(void **state)
{
    (void)state;
    enum { N = 500, D = 37 };
    static const int threads[] = {2, 3, 5, 16};
    float *dz = malloc(2 * N * D * sizeof *dz);
    for (int kind = 0; kind < 8; kind++) {
        struct loss_metrics m[2];
        struct batch b = {.n = N,
                          .d = D,
                          .rows = 777,
                          .temperature = kind & 4 ? 0.01 : 0.2,
                          .raw = kind & 1,
                          .momentum = kind & 2};
        fill(&b, 0.2);
        run(&b, NULL, 1, dz, &m[0]);
        for (int t = 0; t < 4; t++) {
            run(&b, NULL, threads[t], dz + N * D, &m[1]);
            assert_memory_equal(dz, dz + N * D, N * D * sizeof *dz);
            assert_memory_equal(&m[0], &m[1], sizeof m[0]);
        }
        release(&b);
    }
    free(dz);
}

/* An empty queue must leave NT-Xent as it is, and MoCo's loss at 0. */
static void test_empty(void **state)
{
    (void)state;
    enum { N = 210, D = 16 };
    static float plain[N * D], dz[N * D];
    for (int kind = 0; kind < 4; kind++) {
        struct loss_metrics without, m;
        struct batch b = {.n = N, .d = D, .temperature = kind & 2 ? 0.01 : 0.2, .raw = kind & 1};
        fill(&b, 0.3);
        const struct loss_input in = {
            .z = b.z, .n = N, .d = D, .views = 2, .normalize = !b.raw, .threads = 2};
        assert_int_equal(ntxent(&in, b.temperature, NULL, plain, &without), 0);
        run(&b, NULL, 2, dz, &m);
        assert_memory_equal(dz, plain, sizeof dz);
        assert_memory_equal(&m, &without, sizeof m);
        b.momentum = true;
        b.target = b.z;
        run(&b, NULL, 2, dz, &m);
        assert_true(m.loss == 0 && m.entropy == 0);
        for (int i = 0; i < N * D; i++)
            assert_true(dz[i] == 0);
        b.target = NULL;
        release(&b);
    }
}

/* Rows that have all become equal count as right nowhere; each loss is that of equal candidates. */
static void test_collapse(void **state)
{
    (void)state;
    enum { N = 300, D = 8, ROWS = 200 };
    static float z[N * D], queue[ROWS * D], dz[N * D];
    struct projection_queue q = {queue, ROWS, D, 0};
    for (int i = 0; i < N * D; i++)
        z[i] = (float)(i % D) - 2.5f;
    projection_queue_push(&q, z, N, true);
    for (int momentum = 0; momentum < 2; momentum++) {
        struct batch b = {.n = N,
                          .d = D,
                          .rows = ROWS,
                          .temperature = 0.5,
                          .momentum = momentum,
                          .z = z,
                          .target = z,
                          .queue = queue};
        struct loss_metrics m;
        run(&b, NULL, 2, dz, &m);
        assert_true(m.accuracy == 0);
        assert_true(fabs(m.loss - log(ROWS + (momentum ? 1 : N - 1))) < 1e-5);
        assert_true(fabs(m.entropy - m.loss) < 1e-5);
    }
}

/* An element that is not finite must be noticed, wherever it is, and products that overflow. */
static void test_not_finite(void **state)
{
    (void)state;
    for (int kind = 0; kind < 24; kind++) {
        static const float bad[] = {NAN, INFINITY, 1e25f};
        struct batch b = {
            .n = 20, .d = 4, .rows = 30, .temperature = 0.5, .raw = kind & 1, .momentum = kind & 2};
        struct loss_metrics m;
        float dz[80];
        fill(&b, 1);
        b.z[37] = bad[kind / 8];
        if (kind & 4)
            (b.momentum ? b.target : b.queue)[33] =
                b.momentum && isfinite(b.z[37]) ? -b.z[37] : b.z[37];
        if (!isfinite(b.z[37]) || (b.raw && kind & 4)) {
            run(&b, NULL, 2, dz, &m);
            if (isfinite(m.loss))
                fail_msg("%g is not seen, kind %d", (double)b.z[37], kind);
        }
        release(&b);
    }
}

/* ---- the queue ---- */

/* The oldest row gives way; of a batch that is larger than the queue the last rows remain. */
static void test_ring(void **state)
{
    (void)state;
    float rows[10] = {0};
    struct projection_queue q = {rows, 5, 2, 0};
    const float first[] = {3, 4, 0, 2, 0, 0}, next[] = {1, 0, 2, 0, 0, 3, 5, 0};
    projection_queue_push(&q, first, 3, true);
    const float after[] = {0.6f, 0.8f, 0, 1, 0, 0, 0, 0, 0, 0};
    assert_memory_equal(rows, after, sizeof rows);
    assert_int_equal(projection_queue_count(&q), 3);
    assert_int_equal(projection_queue_check(&q, true), 0);
    projection_queue_push(&q, next, 4, false);
    const float raw[] = {0, 3, 5, 0, 0, 0, 1, 0, 2, 0};
    assert_memory_equal(rows, raw, sizeof rows);
    assert_int_equal(q.pushed, 7);
    assert_int_equal(projection_queue_count(&q), 5);
    assert_int_equal(projection_queue_check(&q, false), 0);
    assert_int_equal(projection_queue_check(&q, true), -1);
    assert_non_null(strstr(fail_message(), "row 0 of the queue is longer than 1"));
    struct projection_queue small = {rows, 2, 2, 3};
    projection_queue_push(&small, next, 4, false);
    const float last[] = {5, 0, 0, 3};
    assert_int_equal(small.pushed, 7);
    assert_memory_equal(rows, last, sizeof last);
    small.pushed = -1;
    assert_int_equal(projection_queue_check(&small, false), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_float64),  cmocka_unit_test(test_extreme_temperature),
        cmocka_unit_test(test_by_hand),  cmocka_unit_test(test_finite_differences),
        cmocka_unit_test(test_threads),  cmocka_unit_test(test_empty),
        cmocka_unit_test(test_collapse), cmocka_unit_test(test_not_finite),
        cmocka_unit_test(test_ring),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
