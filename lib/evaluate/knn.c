/* The search makes two passes over the training rows. The first one finds candidates by block
 * products of float32 or bf16, in which rounding has errors that are known; it keeps all rows that
 * may be among the k nearest, so the true ones are among them. The second one computes the
 * candidates' similarities in float64 and selects the k nearest exactly, ties included.
 *
 * With unit rows a and b and any row m, and a = m + a', b = m + b',
 *
 *     a . b = a' . b' + m . b' + a . m,
 *
 * whose last term is the same for all training rows. So rows are compared by a' . b' + m . b'. The
 * errors of a' . b' are in proportion to the lengths of a' and b', and with m the mean of the
 * training rows these are small where all rows are similar, as features often are. */
#include "evaluate/knn.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/count.h"
#include "base/fail.h"
#include "base/large_pages.h"
#include "base/multiversion.h"
#include "evaluate/candidates.h"
#include "evaluate/row_products.h"

enum { TILE = 256, BLOCK = 16, SEGMENT = 256, PAIRS = 4096, AHEAD = 12, SAMPLE = 2048 };

/* Eight values. Vectors of the compiler, since it does not turn loops over eight into them. */
typedef float floats __attribute__((vector_size(32), aligned(4), may_alias));
typedef double doubles __attribute__((vector_size(64)));

/* The eight values from v on. A function could not return them on every processor. */
#define WIDEN(v) __builtin_convertvector(*(const floats *)(v), doubles)

struct search {
    const struct feature_set *train, *test;
    int64_t k;
    double temperature;
    int classes;
    const double *train_norm; /* [n_train] lengths of the rows */
    double *mean;             /* [D] m */
    /* The rows b' for the products, and for each of them m . b'; of them all, the largest length, the
     * largest distance of a row to the stored one, and the largest m . b'. */
    struct row_products products;
    unsigned char *panels;
    size_t panel_bytes; /* of them all */
    float *offset;      /* [n_train], rounded up to panels with -INFINITY */
    double length, rest, largest_offset;
    int64_t tile; /* test rows at a time, at most TILE */
    int64_t most; /* candidates of a test row that are not too many, on average; 0: any number */
    /* What is written for each test row: its prediction, or, if that is NULL, its k neighbours. */
    struct prediction *predictions;
    struct knn_neighbour *neighbours;
};

/* A test row and a candidate whose similarity is to be computed; `norm` is the length of the row. */
struct pair {
    int64_t test;
    struct neighbour *with;
    double norm;
};

/* The memory of a thread. */
struct scratch {
    unsigned char *a;
    float *c;
    double *row, *votes;
    struct pair *pairs; /* [PAIRS] */
    doubles *sums;      /* [PAIRS] */
    int64_t n_pairs;
    struct candidates list[TILE];
};

/* Adds to four sums of eight parts: those of four pairs of rows. The order of a pair's additions is
 * that of its values, so equal rows have equal sums; four at a time hide an addition's latency. */
MULTIVERSION
static void add_products(const float *const a[4], const float *const b[4], int64_t n,
                         doubles *const sums[4])
{
    doubles sum[4] = {*sums[0], *sums[1], *sums[2], *sums[3]};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int r = 0; r < 4; r++)
            sum[r] += WIDEN(a[r] + i) * WIDEN(b[r] + i);
    for (; i < n; i++)
        for (int r = 0; r < 4; r++)
            sum[r][0] += (double)a[r][i] * (double)b[r][i];
    for (int r = 0; r < 4; r++)
        *sums[r] = sum[r];
}

static double add_parts(const doubles *sum)
{
    const double *v = (const double *)sum;
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

/* Returns the length of a row. */
static double length_of(const float *x, int64_t width)
{
    const float *const rows[4] = {x, x, x, x};
    doubles sums[4] = {{0}};
    add_products(rows, rows, width, (doubles *const[4]){sums, sums + 1, sums + 2, sums + 3});
    return sqrt(add_parts(sums));
}

/* Writes x scaled to length 1 (zeros stay zeros) less the mean, and the result's square and its
 * product with the mean. */
MULTIVERSION
static void center(const float *x, double norm, const double *mean, int64_t width, double *out,
                   double sums[2])
{
    const double scale = norm > 0 ? 1 / norm : 0;
    double square[8] = {0}, product[8] = {0};
    for (int64_t j = 0; j < width; j++)
        out[j] = (double)x[j] * scale - mean[j];
    for (int64_t j = 0; j + 8 <= width; j += 8)
        for (int l = 0; l < 8; l++) {
            square[l] += out[j + l] * out[j + l];
            product[l] += out[j + l] * mean[j + l];
        }
    for (int64_t j = width / 8 * 8; j < width; j++) {
        square[0] += out[j] * out[j];
        product[0] += out[j] * mean[j];
    }
    sums[0] = sums[1] = 0;
    for (int l = 0; l < 8; l++) {
        sums[0] += square[l];
        sums[1] += product[l];
    }
}

/* Sets hit[i] for each of the rows of c [rows,columns] that has a value which with its column's
 * offset reaches the row's threshold. */
MULTIVERSION
static void find_hits(const float *c, const float *offset, const float *threshold, int64_t rows,
                      int64_t columns, unsigned char *hit)
{
    for (int64_t i = 0; i < rows; i++) {
        int any = 0;
        for (int64_t j = 0; j < columns; j++)
            any |= c[i * columns + j] + offset[j] >= threshold[i];
        hit[i] = (unsigned char)any;
    }
}

enum found { FOUND, TOO_MANY, OUT_OF_MEMORY };

/* Returns true if the candidates of a tile's n test rows are too many for exact similarities. */
static bool too_many(const struct search *s, const struct scratch *t, int64_t n)
{
    int64_t all = 0;
    for (int64_t i = 0; i < n; i++)
        all += t->list[i].count;
    return s->most && all > n * s->most;
}

/* Adds the candidates among the training rows of a panel, from `first` on, whose products with a test
 * row are given. */
static int collect(struct candidates *c, const struct search *s, const float *product,
                   int64_t first)
{
    const int64_t n = count_min(s->products.columns, s->train->n - first);
    for (int64_t j = 0; j < n; j++) {
        const float rough = product[j] + s->offset[first + j];
        if (!(rough >= c->threshold))
            continue;
        if (c->count == c->capacity && candidates_make_room(c, s->k))
            return -1;
        if (rough >= c->threshold) {
            c->rough[c->count] = rough;
            c->list[c->count++].row = first + j;
        }
    }
    return 0;
}

/* Stores the test rows first to first + n - 1 for the products, and sets their margins. */
static void set_tile(const struct search *s, struct scratch *t, int64_t first, int64_t n,
                     double *norm)
{
    const int64_t width = s->train->width;
    for (int64_t i = 0; i < n; i++) {
        struct candidates *c = &t->list[i];
        const float *x = s->test->x + (first + i) * width;
        double sums[2];
        norm[i] = length_of(x, width);
        center(x, norm[i], s->mean, width, t->row, sums);
        row_products_set_a(&s->products, t->a, i, t->row);
        const double rest = row_products_rest(&s->products, t->row), own = sqrt(sums[0]);
        const double stored = (own + rest) * (s->length + s->rest);
        /* The errors of the stored rows, of their products, and of three roundings to float32. */
        const double error = rest * s->length + (own + rest) * s->rest +
                             row_products_error(&s->products) * stored +
                             0x1p-22 * (stored + s->largest_offset);
        c->margin = (float)(2.001 * error + 1e-30);
        c->threshold = -INFINITY;
        c->count = 0;
        /* All similarities to a row of zeros are 0, so the first training rows are the nearest. */
        for (; norm[i] == 0 && c->count < s->k; c->count++) {
            c->rough[c->count] = c->threshold = INFINITY;
            c->list[c->count].row = c->count;
        }
    }
}

/* Finds the candidates of the tile's n test rows. */
static enum found find_candidates(const struct search *s, struct scratch *t, int64_t n)
{
    const int64_t columns = s->products.columns;
    float threshold[TILE];
    unsigned char hit[TILE];
    for (int64_t at = 0; at < s->train->n; at += columns) {
        const unsigned char *panel = s->panels + (size_t)(at / columns) * s->products.panel_bytes;
        row_products_panel(&s->products, t->a, n, panel, t->c);
        for (int64_t i = 0; i < n; i++)
            threshold[i] = t->list[i].threshold;
        find_hits(t->c, s->offset + at, threshold, n, columns, hit);
        for (int64_t i = 0; i < n; i++) {
            const int64_t room = t->list[i].capacity;
            if (hit[i] && collect(&t->list[i], s, t->c + i * columns, at))
                return OUT_OF_MEMORY;
            if (t->list[i].capacity > room && too_many(s, t, n))
                return TOO_MANY;
        }
    }
    for (int64_t i = 0; i < n; i++)
        candidates_prune(&t->list[i], s->k);
    return too_many(s, t, n) ? TOO_MANY : FOUND;
}

static int by_exact(const void *a, const void *b)
{
    const struct neighbour *m = a, *n = b;
    if (m->exact != n->exact)
        return m->exact < n->exact ? 1 : -1;
    return (m->row > n->row) - (m->row < n->row);
}

/* Asks for n values that will be needed soon: a row's segment is too short for the processor to do so
 * by itself. */
static void prefetch(const float *values, int64_t n)
{
    for (int64_t i = 0; i < n; i += 16)
        __builtin_prefetch(values + i);
}

/* Computes the similarities of the pairs in t. It takes SEGMENT values of all of them at a time, so
 * that those of the tile's test rows stay in a second-level cache. */
static void compare_pairs(const struct search *s, struct scratch *t)
{
    const int64_t width = s->train->width;
    memset(t->sums, 0, (size_t)count_round_up(t->n_pairs, 4) * sizeof *t->sums);
    for (int64_t p = t->n_pairs; p % 4; p++)
        t->pairs[p] = t->pairs[0];
    for (int64_t at = 0; at < width; at += SEGMENT) {
        const int64_t n = count_min(width - at, SEGMENT);
        for (int64_t p = 0; p < t->n_pairs; p += 4) {
            const float *a[4], *b[4];
            doubles *sums[4];
            for (int64_t r = 0; r < 4; r++) {
                a[r] = s->test->x + t->pairs[p + r].test * width + at;
                b[r] = s->train->x + t->pairs[p + r].with->row * width + at;
                sums[r] = &t->sums[p + r];
                if (p + r + AHEAD < t->n_pairs)
                    prefetch(s->train->x + t->pairs[p + r + AHEAD].with->row * width + at, n);
            }
            add_products(a, b, n, sums);
        }
    }
    for (int64_t p = 0; p < t->n_pairs; p++) {
        struct neighbour *with = t->pairs[p].with;
        const double scale = t->pairs[p].norm * s->train_norm[with->row];
        with->exact = scale > 0 ? add_parts(&t->sums[p]) / scale : 0;
    }
    t->n_pairs = 0;
}

/* Computes the similarities of all candidates of a tile's test rows first to first + n - 1. It goes
 * over the training rows once, so that each comes from memory once for all test rows. */
static void compare_all(const struct search *s, struct scratch *t, int64_t first, int64_t n,
                        const double *norm)
{
    for (int64_t i = 0; i < n; i++)
        t->list[i].done = 0;
    for (int64_t end = BLOCK; end < s->train->n + BLOCK; end += BLOCK)
        for (int64_t i = 0; i < n; i++) {
            struct candidates *c = &t->list[i];
            for (; c->done < c->count && c->list[c->done].row < end; c->done++) {
                t->pairs[t->n_pairs++] = (struct pair){first + i, &c->list[c->done], norm[i]};
                if (t->n_pairs == PAIRS)
                    compare_pairs(s, t);
            }
        }
    compare_pairs(s, t);
}

/* Predicts the class of a test row by the votes of its k nearest rows. */
static void vote(const struct search *s, const struct neighbour *nearest, int64_t row,
                 double *votes)
{
    for (int i = 0; i < s->classes; i++)
        votes[i] = -INFINITY; /* a class without a vote cannot be predicted */
    /* Votes are relative to that of the nearest row, so that a low temperature does not
     * overflow. */
    for (int64_t i = 0; i < s->k; i++) {
        double *of_class = &votes[s->train->y[nearest[i].row]];
        *of_class = (*of_class > -INFINITY ? *of_class : 0) +
                    exp((nearest[i].exact - nearest[0].exact) / s->temperature);
    }
    s->predictions[row] = scores_predict(votes, s->classes, s->test->y[row]);
}

/* Ranks the neighbours of test rows first to first + n - 1, of a tile, and writes what is asked
 * for. */
static enum found search_tile(const struct search *s, struct scratch *t, int64_t first, int64_t n)
{
    double norm[TILE];
    set_tile(s, t, first, n, norm);
    const enum found found = find_candidates(s, t, n);
    if (found != FOUND)
        return found;
    compare_all(s, t, first, n, norm);
    for (int64_t i = 0; i < n; i++) {
        struct neighbour *list = t->list[i].list;
        qsort(list, (size_t)t->list[i].count, sizeof *list, by_exact);
        if (s->predictions)
            vote(s, list, first + i, t->votes);
        for (int64_t j = 0; j < s->k && s->neighbours; j++)
            s->neighbours[(first + i) * s->k + j] =
                (struct knn_neighbour){list[j].row, list[j].exact};
    }
    return FOUND;
}

static void scratch_free(struct scratch *t)
{
    for (int64_t i = 0; i < TILE; i++) {
        free(t->list[i].rough);
        free(t->list[i].list);
    }
    free(t->a);
    free(t->c);
    free(t->row);
    free(t->votes);
    free(t->pairs);
    free(t->sums);
    free(t);
}

/* Returns a thread's memory, or NULL without a message. */
static struct scratch *scratch_make(const struct search *s)
{
    struct scratch *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    const int64_t rows = row_products_rows(&s->products, TILE);
    const size_t bytes = (size_t)rows * s->products.row_bytes;
    t->a = aligned_alloc(64, bytes);
    t->c = aligned_alloc(64, (size_t)(rows * s->products.columns) * sizeof *t->c);
    t->row = malloc((size_t)s->train->width * sizeof *t->row);
    t->votes = malloc((size_t)s->classes * sizeof *t->votes);
    t->pairs = malloc(PAIRS * sizeof *t->pairs);
    t->sums = aligned_alloc(64, PAIRS * sizeof *t->sums);
    bool enough = t->a && t->c && t->row && t->votes && t->pairs && t->sums;
    for (int64_t i = 0; i < TILE; i++) {
        struct candidates *c = &t->list[i];
        c->capacity = 2 * s->k + 256;
        c->rough = malloc((size_t)c->capacity * sizeof *c->rough);
        c->list = malloc((size_t)c->capacity * sizeof *c->list);
        enough = enough && c->rough && c->list;
    }
    if (enough) {
        memset(t->a, 0, bytes);
        return t;
    }
    scratch_free(t);
    return NULL;
}

/* Sets the mean of the training rows at length 1, or of some of them that are spread evenly. */
static void set_mean(struct search *s)
{
    const struct feature_set *train = s->train;
    const int64_t stride = count_divide_up(train->n, SAMPLE), n = count_divide_up(train->n, stride);
    memset(s->mean, 0, (size_t)train->width * sizeof *s->mean);
    for (int64_t i = 0; i < train->n; i += stride) {
        const double scale = s->train_norm[i] > 0 ? 1 / s->train_norm[i] / (double)n : 0;
        for (int64_t j = 0; j < train->width; j++)
            s->mean[j] += (double)train->x[i * train->width + j] * scale;
    }
}

/* Stores the training rows of a panel, and adds to what is known of them all. */
static void pack_panel(struct search *s, int64_t panel, double *row)
{
    const int64_t width = s->train->width, first = panel * s->products.columns;
    unsigned char *to = s->panels + (size_t)panel * s->products.panel_bytes;
    double length = 0, rest = 0, largest = 0;
    for (int64_t j = 0; j < s->products.columns; j++) {
        const int64_t i = first + j;
        s->offset[i] = -INFINITY;
        if (i >= s->train->n)
            continue;
        double sums[2];
        center(s->train->x + i * width, s->train_norm[i], s->mean, width, row, sums);
        row_products_set_b(&s->products, to, j, row);
        s->offset[i] = (float)sums[1];
        length = fmax(length, sqrt(sums[0]));
        rest = fmax(rest, row_products_rest(&s->products, row));
        largest = fmax(largest, fabs(sums[1]));
    }
#pragma omp critical
    {
        s->length = fmax(s->length, length);
        s->rest = fmax(s->rest, rest);
        s->largest_offset = fmax(s->largest_offset, largest);
    }
}

/* Stores the training rows for a kernel. Returns -1, without a message, if memory is out. */
static int pack(struct search *s, const struct gemm_kernel *by)
{
    const int64_t panels = count_divide_up(s->train->n, by->columns);
    s->products = row_products_make(by, s->train->width);
    s->length = s->rest = s->largest_offset = 0;
    if (__builtin_mul_overflow((size_t)panels, s->products.panel_bytes, &s->panel_bytes))
        return -1;
    s->panels = large_pages_take(s->panel_bytes);
    s->offset = malloc((size_t)(panels * by->columns) * sizeof *s->offset);
    if (!s->panels || !s->offset)
        return -1;
    int failed = 0;
#pragma omp parallel
    {
        double *row = malloc((size_t)s->train->width * sizeof *row);
        if (!row) {
#pragma omp atomic write
            failed = 1;
        }
#pragma omp for
        for (int64_t panel = 0; panel < panels; panel++)
            if (row)
                pack_panel(s, panel, row);
        free(row);
    }
    return failed ? -1 : 0;
}

static void unpack(struct search *s)
{
    large_pages_free(s->panels, s->panel_bytes);
    free(s->offset);
    s->panels = NULL;
    s->offset = NULL;
}

/* Searches by a kernel the tiles that are not done, and sets `done` for each that it could. Tiles of
 * too many candidates are left out, and once there was one, so are those that come later. */
static int search_by(struct search *s, const struct gemm_kernel *by, unsigned char *done,
                     progress_line *progress)
{
    const int64_t tiles = count_divide_up(s->test->n, s->tile);
    int64_t ready = 0;
    int failed = pack(s, by), crowded = 0;
#pragma omp parallel
    {
        struct scratch *t = failed ? NULL : scratch_make(s);
        by->begin();
#pragma omp for schedule(dynamic)
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t rows = count_min(s->test->n - i * s->tile, s->tile);
            int stop;
#pragma omp atomic read
            stop = crowded;
            enum found found = t ? FOUND : OUT_OF_MEMORY;
            if (t && !done[i])
                found = stop ? TOO_MANY : search_tile(s, t, i * s->tile, rows);
            done[i] = found == FOUND;
#pragma omp critical
            {
                failed |= found == OUT_OF_MEMORY;
                crowded |= found == TOO_MANY;
                ready += rows;
                if (progress && found == FOUND)
                    progress("neighbours: %lld of %lld rows", (long long)ready,
                             (long long)s->test->n);
            }
        }
        by->end();
        if (t)
            scratch_free(t);
    }
    unpack(s);
    return failed ? fail("out of memory for the candidates") : crowded;
}

/* Searches by bf16 where the machine has products of it that are faster. Tiles whose candidates
 * rounding to bf16 leaves too many are then searched again in float32: a row of a float32 product
 * costs about as much as the exact similarities of a twelfth of the training rows. */
static int search_all(struct search *s, progress_line *progress)
{
    const struct gemm_kernel *bf16 = gemm_kernel_choose(GEMM_BF16);
    /* Large tiles share more; small ones give each thread several. */
    s->tile = count_round_up(s->test->n / (4 * omp_get_max_threads()) + 1, GEMM_KERNEL_ROWS);
    s->tile = count_min(s->tile, TILE);
    unsigned char *done = calloc((size_t)count_divide_up(s->test->n, s->tile), 1);
    if (!done)
        return fail("out of memory for %lld test rows", (long long)s->test->n);
    int left = 1;
    if (bf16) {
        s->most = 2 * s->k + s->train->n / 12;
        left = search_by(s, bf16, done, progress);
    }
    s->most = 0;
    if (left > 0)
        left = search_by(s, gemm_kernel_choose(GEMM_FLOAT), done, progress);
    free(done);
    return left;
}

/* Runs the search that `s` describes, except for the members that this function sets. */
static int search(struct search *s, progress_line *progress)
{
    const struct feature_set *train = s->train, *test = s->test;
    const int64_t k = s->k, width = train->width;
    if (k < 1 || k > train->n)
        return fail("k = %lld neighbours of %lld training rows", (long long)k, (long long)train->n);
    if (test->width != width)
        return fail("training rows have %lld features, test rows %lld", (long long)width,
                    (long long)test->width);
    if (width > INT32_MAX)
        return fail("rows of %lld features are too wide", (long long)width);
    double *norm = malloc((size_t)train->n * sizeof *norm);
    s->mean = malloc((size_t)width * sizeof *s->mean);
    int result = -1;
    if (norm && s->mean) {
#pragma omp parallel for
        for (int64_t i = 0; i < train->n; i++)
            norm[i] = length_of(train->x + i * width, width);
        s->train_norm = norm;
        set_mean(s);
        result = search_all(s, progress);
    } else {
        fail("out of memory for %lld training rows", (long long)train->n);
    }
    free(norm);
    free(s->mean);
    return result;
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
