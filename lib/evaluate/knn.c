/* The search makes two passes over the training rows. The first compares unit rows in float32 by
 * matrix products, tile by tile, and keeps as candidates all rows whose similarity is within the
 * rounding error of the k-th best one, so the true k nearest are among them. The second computes
 * the candidates' similarities in float64 and selects the k nearest exactly, ties included. */
#include "evaluate/knn.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/grow.h"
#include "base/multiversion.h"

enum { TEST_TILE = 64, TRAIN_TILE = 1024 };

struct neighbour {
    float rough; /* similarity in float32 */
    int64_t row;
    double exact; /* similarity in float64 */
};

struct candidates { /* The candidates of one test row. */
    struct neighbour *list;
    int64_t count, capacity;
    float threshold; /* rows with a lower rough similarity are not among the k nearest */
};

struct search {
    const struct feature_set *train, *test;
    const float *train_unit;  /* [n_train,D] rows of length 1 */
    const double *train_norm; /* [n_train] lengths of the rows */
    int64_t k;
    double temperature;
    float margin; /* twice the largest error of a rough similarity */
    int classes;
    /* What is written for each test row: its prediction, or, if that is NULL, its k neighbours. */
    struct prediction *predictions;
    struct knn_neighbour *neighbours;
};

/* Returns the dot product. It adds eight partial sums in a fixed order, so that vector units can be
 * used and equal rows have equal products. */
MULTIVERSION
static double dot(const float *a, const float *b, int64_t n)
{
    double sum[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int l = 0; l < 8; l++)
            sum[l] += (double)a[i + l] * (double)b[i + l];
    for (; i < n; i++)
        sum[0] += (double)a[i] * (double)b[i];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
}

/* Writes the row scaled to length 1 (zeros stay zeros) and returns its length. */
static double unit_row(const float *x, int64_t width, float *unit)
{
    double norm = sqrt(dot(x, x, width)), scale = norm > 0 ? 1 / norm : 0;
    for (int64_t j = 0; j < width; j++)
        unit[j] = (float)((double)x[j] * scale);
    return norm;
}

static int by_rough(const void *a, const void *b)
{
    float s = ((const struct neighbour *)a)->rough, t = ((const struct neighbour *)b)->rough;
    return (s < t) - (s > t);
}

static int by_exact(const void *a, const void *b)
{
    const struct neighbour *m = a, *n = b;
    if (m->exact != n->exact)
        return m->exact < n->exact ? 1 : -1;
    return (m->row > n->row) - (m->row < n->row);
}

/* Drops candidates that cannot be among the k nearest, and doubles the room if that frees less than
 * half of it. */
static int make_room(struct candidates *c, const struct search *s)
{
    qsort(c->list, (size_t)c->count, sizeof *c->list, by_rough);
    c->threshold = c->list[s->k - 1].rough - s->margin;
    while (c->list[c->count - 1].rough < c->threshold)
        c->count--;
    if (c->count <= c->capacity / 2)
        return 0;
    struct neighbour *list = grow(c->list, c->capacity, &c->capacity, sizeof *list);
    if (!list)
        return -1;
    c->list = list;
    return 0;
}

/* Adds the candidates among training rows first to first + n - 1, whose rough similarities are
 * given. */
static int collect(struct candidates *c, const struct search *s, const float *similarity,
                   int64_t first, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        if (similarity[i] < c->threshold)
            continue;
        if (c->count == c->capacity && make_room(c, s))
            return -1;
        if (similarity[i] >= c->threshold)
            c->list[c->count++] = (struct neighbour){.rough = similarity[i], .row = first + i};
    }
    return 0;
}

/* Sorts the candidates of a test row by their exact similarities. */
static void rank(struct candidates *c, const struct search *s, int64_t row, double norm)
{
    int64_t width = s->train->width;
    for (int64_t i = 0; i < c->count; i++) {
        struct neighbour *n = &c->list[i];
        double scale = norm * s->train_norm[n->row];
        const float *x = s->train->x + n->row * width;
        n->exact = scale > 0 ? dot(s->test->x + row * width, x, width) / scale : 0;
    }
    qsort(c->list, (size_t)c->count, sizeof *c->list, by_exact);
}

/* Predicts the class of a test row by the votes of its k nearest rows. */
static void vote(const struct candidates *c, const struct search *s, int64_t row, double *votes)
{
    for (int i = 0; i < s->classes; i++)
        votes[i] = -INFINITY; /* a class without a vote cannot be predicted */
    /* Votes are relative to that of the nearest row, so that a low temperature does not
     * overflow. */
    for (int64_t i = 0; i < s->k; i++) {
        double *of_class = &votes[s->train->y[c->list[i].row]];
        *of_class = (*of_class > -INFINITY ? *of_class : 0) +
                    exp((c->list[i].exact - c->list[0].exact) / s->temperature);
    }
    s->predictions[row] = scores_predict(votes, s->classes, s->test->y[row]);
}

/* Ranks the neighbours of test rows first to first + n - 1, where n is at most TEST_TILE, and writes
 * what is asked for. Returns -1, without a message, if memory is out. */
static int search_tile(const struct search *s, int64_t first, int64_t n)
{
    int64_t width = s->train->width;
    float *unit = malloc((size_t)(TEST_TILE * width) * sizeof *unit);
    float *similarity = malloc((size_t)(TEST_TILE * TRAIN_TILE) * sizeof *similarity);
    double *votes = malloc((size_t)s->classes * sizeof *votes), norm[TEST_TILE];
    struct candidates c[TEST_TILE] = {0};
    int result = unit && similarity && votes ? 0 : -1;
    for (int64_t i = 0; i < n && !result; i++) {
        c[i] = (struct candidates){.capacity = 2 * s->k + 256, .threshold = -INFINITY};
        c[i].list = malloc((size_t)c[i].capacity * sizeof *c[i].list);
        result = c[i].list ? 0 : -1;
        norm[i] = unit_row(s->test->x + (first + i) * width, width, unit + i * width);
    }
    for (int64_t at = 0; at < s->train->n && !result; at += TRAIN_TILE) {
        int64_t rows = s->train->n - at < TRAIN_TILE ? s->train->n - at : TRAIN_TILE;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, (int)rows, (int)width, 1, unit,
                    (int)width, s->train_unit + at * width, (int)width, 0, similarity, TRAIN_TILE);
        for (int64_t i = 0; i < n && !result; i++)
            result = collect(&c[i], s, similarity + i * TRAIN_TILE, at, rows);
    }
    for (int64_t i = 0; i < n && !result; i++) {
        result = make_room(&c[i], s);
        if (result)
            break;
        rank(&c[i], s, first + i, norm[i]);
        if (s->predictions)
            vote(&c[i], s, first + i, votes);
        for (int64_t j = 0; j < s->k && s->neighbours; j++)
            s->neighbours[(first + i) * s->k + j] =
                (struct knn_neighbour){c[i].list[j].row, c[i].list[j].exact};
    }
    for (int64_t i = 0; i < n; i++)
        free(c[i].list);
    free(votes);
    free(similarity);
    free(unit);
    return result;
}

/* Runs the search that `s` describes, except for the members that this function sets. */
static int search(struct search *s, progress_line *progress)
{
    const struct feature_set *train = s->train, *test = s->test;
    const int64_t k = s->k;
    int64_t width = train->width;
    if (k < 1 || k > train->n)
        return fail("k = %lld neighbours of %lld training rows", (long long)k, (long long)train->n);
    if (test->width != width)
        return fail("training rows have %lld features, test rows %lld", (long long)width,
                    (long long)test->width);
    if (width > INT32_MAX)
        return fail("rows of %lld features are too wide", (long long)width);
    float *unit = malloc((size_t)(train->n * width) * sizeof *unit);
    double *norm = malloc((size_t)train->n * sizeof *norm);
    if (!unit || !norm) {
        free(unit);
        free(norm);
        return fail("out of memory for %lld training rows", (long long)train->n);
    }
#pragma omp parallel for
    for (int64_t i = 0; i < train->n; i++)
        norm[i] = unit_row(train->x + i * width, width, unit + i * width);

    s->train_unit = unit;
    s->train_norm = norm;
    /* The product of two unit rows has an error of at most width + 4 roundings of 2^-24. Both the
     * k-th best product and the one compared with it may have that error. */
    s->margin = (float)(2 * ((double)width + 4) * 0x1p-24);
    openblas_set_num_threads(1); /* OpenMP runs one thread for each tile of test rows */
    int failed = 0;
    int64_t done = 0;
#pragma omp parallel for schedule(dynamic)
    for (int64_t at = 0; at < test->n; at += TEST_TILE) {
        int64_t rows = test->n - at < TEST_TILE ? test->n - at : TEST_TILE;
        int stop, bad = 0;
#pragma omp atomic read
        stop = failed;
        if (!stop)
            bad = search_tile(s, at, rows) != 0;
#pragma omp atomic
        failed |= bad;
#pragma omp critical
        {
            done += rows;
            if (progress)
                progress("neighbours: %lld of %lld rows", (long long)done, (long long)test->n);
        }
    }
    free(unit);
    free(norm);
    return failed ? fail("out of memory for the candidates") : 0;
}

int knn_classify(const struct feature_set *train, const struct feature_set *test, int64_t k,
                 double temperature, int classes, struct prediction *predictions,
                 progress_line *progress)
{
    struct search s = {.train = train,
                       .test = test,
                       .k = k,
                       .temperature = temperature,
                       .classes = classes,
                       .predictions = predictions};
    return search(&s, progress);
}

int knn_nearest(const struct feature_set *train, const struct feature_set *test, int64_t k,
                struct knn_neighbour *neighbours, progress_line *progress)
{
    struct search s = {
        .train = train, .test = test, .k = k, .classes = 1, .neighbours = neighbours};
    return search(&s, progress);
}
