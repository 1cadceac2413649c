/* On correlated features L-BFGS needs hundreds of iterations, so it minimizes over U = R W instead
 * of W, where R'R = S / seen + l2 I is the Hessian at W = 0 and S is the correlation matrix of the
 * features (Boehning 1992 shows that R'R bounds the Hessian elsewhere). This changes the path of
 * the iterations, not the minimum. Sums over rows are taken in CHUNKS chunks, each in the order of
 * its rows, and the chunks are added in order. */
#include "evaluate/probe.h"

#include <cblas.h>
#include <lbfgs.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/multiversion.h"
#include "base/stop.h"

enum {
    CHUNKS = 16,
    ROWS = 128,       /* rows that are standardized at a time */
    TILE = 128,       /* features in a tile */
    MAX_FACTOR = 8192 /* for wider features R would not fit into memory, so U is W */
};

/* LAPACK's Cholesky factorization, which OpenBLAS exports without declaring it. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);

struct fit {
    const struct probe *p;
    const struct feature_set *x;
    progress_line *progress; /* or NULL */
    const int *target;       /* [x->n] index into class_of */
    const int64_t *rows;     /* [n] the rows that are fitted */
    int64_t n;
    double l2;
    double *correlation; /* [D,D] S, or NULL: U is W */
    double *factor;      /* [D,D] R, upper triangle */
    double *w;           /* [seen,D] W for the present U */
    double *gradient;    /* [CHUNKS][seen * D + seen] */
    double *scratch;     /* [CHUNKS][ROWS * (D + seen)] */
    double loss[CHUNKS];
    int iterations;
};

MULTIVERSION
static void standardize(const float *x, const double *mean, const double *inverse_std, int64_t n,
                        double *out)
{
    for (int64_t j = 0; j < n; j++)
        out[j] = ((double)x[j] - mean[j]) * inverse_std[j];
}

/* Computes logits [n,seen] = rows w' + b of standardized rows [n,D], w [seen,D], b [seen]. */
static void compute_logits(const struct probe *p, const double *w, const double *b,
                           const double *rows, int64_t n, double *logits)
{
    int width = (int)p->width, seen = p->seen;
    for (int64_t i = 0; i < n; i++)
        memcpy(logits + i * seen, b, (size_t)seen * sizeof *b);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)n, seen, width, 1, rows, width, w,
                width, 1, logits, seen);
}

/* Turns a row's logits [seen] into their gradient, softmax minus the one-hot target, and returns
 * the row's cross-entropy. */
static double cross_entropy(double *logits, int seen, int target)
{
    double highest = logits[0], sum = 0, of_target = logits[target];
    for (int c = 1; c < seen; c++)
        highest = logits[c] > highest ? logits[c] : highest;
    for (int c = 0; c < seen; c++)
        sum += logits[c] = exp(logits[c] - highest);
    for (int c = 0; c < seen; c++)
        logits[c] /= sum;
    logits[target] -= 1;
    return log(sum) + highest - of_target;
}

/* Adds up the losses of a chunk's rows and their gradients. */
static void sum_chunk(struct fit *f, int chunk, const double *b)
{
    const struct probe *p = f->p;
    int64_t width = p->width, seen = p->seen;
    int64_t begin = f->n * chunk / CHUNKS, end = f->n * (chunk + 1) / CHUNKS;
    double *g = f->gradient + chunk * (seen * width + seen), *gb = g + seen * width;
    double *rows = f->scratch + chunk * ROWS * (width + seen), *logits = rows + ROWS * width;
    memset(g, 0, (size_t)(seen * width + seen) * sizeof *g);
    f->loss[chunk] = 0;
    for (int64_t at = begin; at < end; at += ROWS) {
        int64_t n = end - at < ROWS ? end - at : ROWS;
        for (int64_t i = 0; i < n; i++)
            standardize(f->x->x + f->rows[at + i] * width, p->mean, p->inverse_std, width,
                        rows + i * width);
        compute_logits(p, f->w, b, rows, n, logits);
        for (int64_t i = 0; i < n; i++) {
            f->loss[chunk] +=
                cross_entropy(logits + i * seen, (int)seen, f->target[f->rows[at + i]]);
            for (int64_t c = 0; c < seen; c++)
                gb[c] += logits[i * seen + c];
        }
        cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)seen, (int)width, (int)n, 1,
                    logits, (int)seen, rows, (int)width, 1, g, (int)width);
    }
}

/* Computes W from U [seen,D]: R w = u for each class, so W = U R'^-1 with classes as rows. */
static void to_weights(const struct fit *f, const double *u, double *w)
{
    int width = (int)f->p->width, seen = f->p->seen;
    memcpy(w, u, (size_t)seen * (size_t)width * sizeof *w);
    if (f->factor)
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, seen, width, 1,
                    f->factor, width, w, width);
}

/* Returns the loss at u and stores its gradient in g. This is the objective of lbfgs(). */
static lbfgsfloatval_t evaluate(void *instance, const lbfgsfloatval_t *u, lbfgsfloatval_t *g,
                                const int n, const lbfgsfloatval_t step)
{
    struct fit *f = instance;
    (void)step;
    int width = (int)f->p->width, seen = f->p->seen;
    int64_t weights = (int64_t)seen * width;
    to_weights(f, u, f->w);
#pragma omp parallel for schedule(dynamic)
    for (int chunk = 0; chunk < CHUNKS; chunk++)
        sum_chunk(f, chunk, u + weights);

    double loss = 0, penalty = 0, scale = 1 / (double)f->n;
    memset(g, 0, (size_t)n * sizeof *g);
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        loss += f->loss[chunk];
        const double *part = f->gradient + chunk * (weights + seen);
        for (int64_t j = 0; j < weights + seen; j++)
            g[j] += part[j];
    }
    for (int64_t j = 0; j < weights + seen; j++)
        g[j] *= scale;
    for (int64_t j = 0; j < weights; j++) {
        penalty += f->w[j] * f->w[j];
        g[j] += f->l2 * f->w[j];
    }
    /* Apply the chain rule for W = U R'^-1. */
    if (f->factor)
        cblas_dtrsm(CblasRowMajor, CblasRight, CblasUpper, CblasNoTrans, CblasNonUnit, seen, width,
                    1, f->factor, width, g, width);
    return loss * scale + f->l2 / 2 * penalty;
}

/* Computes the correlation matrix s [D,D] of all rows, of which the factor needs only the upper
 * triangle. Each tile of columns is computed by one thread. */
static int correlate(const struct fit *f, double *s)
{
    enum { BLOCK = 1024 };
    const struct probe *p = f->p;
    const struct feature_set *x = f->x;
    int64_t width = p->width;
    double *rows = malloc((size_t)(BLOCK * width) * sizeof *rows);
    if (!rows)
        return fail("out of memory for %lld features", (long long)width);
    memset(s, 0, (size_t)(width * width) * sizeof *s);
    for (int64_t at = 0; at < x->n; at += BLOCK) {
        int64_t n = x->n - at < BLOCK ? x->n - at : BLOCK;
#pragma omp parallel for
        for (int64_t i = 0; i < n; i++)
            standardize(x->x + (at + i) * width, p->mean, p->inverse_std, width, rows + i * width);
#pragma omp parallel for schedule(dynamic)
        for (int64_t tile = 0; tile < width; tile += TILE) {
            int64_t columns = width - tile < TILE ? width - tile : TILE;
            cblas_dgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (int)(tile + columns),
                        (int)columns, (int)n, 1 / (double)x->n, rows, (int)width, rows + tile,
                        (int)width, 1, s + tile, (int)width);
        }
        if (f->progress)
            f->progress("linear: correlating features, %lld of %lld rows", (long long)(at + n),
                        (long long)x->n);
    }
    free(rows);
    return 0;
}

/* Computes R from the correlation matrix and f->l2. */
static int factorize(struct fit *f)
{
    int width = (int)f->p->width, info;
    if (!f->factor)
        return 0;
    for (int64_t i = 0; i < width; i++)
        for (int64_t j = i; j < width; j++)
            f->factor[i * width + j] =
                f->correlation[i * width + j] / f->p->seen + (i == j ? f->l2 + 1e-9 : 0);
    /* The upper triangle of a row-major matrix is the lower triangle of a column-major one, which
     * LAPACK uses. */
    dpotrf_("L", &width, f->factor, &width, &info);
    return info ? fail("features are too degenerate to fit at l2 = %g", f->l2) : 0;
}

/* Reports the progress. lbfgs() calls this after each iteration; a result other than 0 ends the
 * fit. */
static int after_iteration(void *instance, const lbfgsfloatval_t *u, const lbfgsfloatval_t *g,
                           const lbfgsfloatval_t loss, const lbfgsfloatval_t unorm,
                           const lbfgsfloatval_t gnorm, const lbfgsfloatval_t step, int n,
                           int iteration, int evaluations)
{
    struct fit *f = instance;
    f->iterations = iteration;
    (void)u, (void)g, (void)unorm, (void)step, (void)n, (void)evaluations;
    if (f->progress)
        f->progress("linear: l2 %g, iteration %d, loss %.6f, gradient %.1e", f->l2, iteration, loss,
                    gnorm);
    return stop_requested();
}

/* Fits at f->l2, starting from p->w and p->b, and leaves the result there. */
static int minimize(struct fit *f, struct probe *p, double tolerance)
{
    int width = (int)p->width, weights = p->seen * width, n = weights + p->seen;
    if (factorize(f))
        return -1;
    double *u = lbfgs_malloc(n);
    if (!u)
        return fail("out of memory for %d weights", n);
    memcpy(u, p->w, (size_t)weights * sizeof *u);
    memcpy(u + weights, p->b, (size_t)p->seen * sizeof *u);
    if (f->factor)
        cblas_dtrmm(CblasRowMajor, CblasRight, CblasUpper, CblasTrans, CblasNonUnit, p->seen, width,
                    1, f->factor, width, u, width);

    lbfgs_parameter_t settings;
    lbfgs_parameter_init(&settings);
    settings.m = 10;
    settings.epsilon = tolerance;
    settings.max_iterations = 5000;
    double loss;
    f->iterations = 0;
    int result = lbfgs(n, u, &loss, evaluate, after_iteration, f, &settings);
    to_weights(f, u, p->w);
    memcpy(p->b, u + weights, (size_t)p->seen * sizeof *u);
    lbfgs_free(u);
    if (stop_requested())
        return fail("stopped by a signal");
    if (result != LBFGS_SUCCESS && result != LBFGS_ALREADY_MINIMIZED)
        return fail("the linear probe does not converge at l2 = %g (L-BFGS: %d)", f->l2, result);
    return 0;
}

/* Computes the mean and 1 / standard deviation of each feature; sums are in the order of rows. */
static void measure(struct probe *p, const struct feature_set *x)
{
    int64_t width = p->width;
#pragma omp parallel for
    for (int64_t tile = 0; tile < width; tile += TILE) {
        int64_t end = width - tile < TILE ? width : tile + TILE;
        for (int64_t i = 0; i < x->n; i++)
            for (int64_t j = tile; j < end; j++)
                p->mean[j] += (double)x->x[i * width + j];
        for (int64_t j = tile; j < end; j++)
            p->mean[j] /= (double)x->n;
        for (int64_t i = 0; i < x->n; i++)
            for (int64_t j = tile; j < end; j++) {
                double off = (double)x->x[i * width + j] - p->mean[j];
                p->inverse_std[j] += off * off;
            }
        for (int64_t j = tile; j < end; j++) {
            double std = sqrt(p->inverse_std[j] / (double)x->n);
            /* The std of a constant feature is at most the rounding error of its mean. */
            p->inverse_std[j] = std > 1e-12 * fabs(p->mean[j]) ? 1 / std : 0;
        }
    }
}

/* Returns how many of the rows [n] are predicted right. */
static int64_t count_right(const struct fit *f, const struct probe *p, const int64_t *rows,
                           int64_t n)
{
    int64_t right = 0, width = p->width, seen = p->seen;
    double *row = f->scratch, *logits = row + ROWS * width;
    for (int64_t i = 0; i < n; i++) {
        standardize(f->x->x + rows[i] * width, p->mean, p->inverse_std, width, row);
        compute_logits(p, p->w, p->b, row, 1, logits);
        right += scores_predict(logits, (int)seen, f->target[rows[i]]).rank == 0;
    }
    return right;
}

/* Returns how many of the first n rows in order of class are held out. */
static int64_t held_among(int64_t n, double holdout)
{
    return (int64_t)((double)n * holdout);
}

/* Returns true if the i-th row in order of class is held out. At most one of two neighbours is held
 * out, so every class with several rows keeps one; a class's only row is never held out. */
static bool is_held_out(const struct feature_set *x, const int64_t *sorted, int64_t i,
                        double holdout)
{
    const int64_t label = x->y[sorted[i]];
    const bool alone =
        (i == 0 || x->y[sorted[i - 1]] != label) && (i + 1 == x->n || x->y[sorted[i + 1]] != label);
    return held_among(i + 1, holdout) > held_among(i, holdout) && !alone;
}

int64_t probe_held_out(const struct feature_set *train, int classes, double holdout)
{
    int64_t *rows = calloc((size_t)classes, sizeof *rows), held = 0, i = 0;
    if (!rows)
        return fail("out of memory for %d classes", classes);
    for (int64_t j = 0; j < train->n; j++)
        rows[train->y[j]]++;
    for (int c = 0; c < classes; c++) /* counts in order of class, as is_held_out() does */
        for (const int64_t end = i + rows[c]; i < end; i++)
            held += rows[c] > 1 && held_among(i + 1, holdout) > held_among(i, holdout);
    free(rows);
    return held;
}

static int by_l2(const void *a, const void *b)
{
    const double s = ((const struct probe_trial *)a)->l2, t = ((const struct probe_trial *)b)->l2;
    return (s > t) - (s < t);
}

/* Sets f->l2 to the best value on the held-out part of `sorted` [x->n], the rows in order of class.
 * `split` [x->n] is scratch. */
static int choose_l2(struct fit *f, struct probe *p, double holdout, const int64_t *sorted,
                     int64_t *split)
{
    int64_t total = f->x->n, n = 0, held = 0;
    for (int64_t i = 0; i < total; i++)
        if (!is_held_out(f->x, sorted, i, holdout))
            split[n++] = sorted[i];
    int64_t *held_out = split + n;
    for (int64_t i = 0; i < total; i++)
        if (is_held_out(f->x, sorted, i, holdout))
            held_out[held++] = sorted[i];
    f->rows = split;
    f->n = n;

    double best = 0;
    int64_t best_right = -1;
    for (int half = 0; half < 2; half++) {
        double center = best;
        for (int i = 0; i < (half ? 2 : 7); i++) {
            f->l2 = half ? center * pow(10, i ? -0.5 : 0.5) : pow(10, -i);
            if (minimize(f, p, 1e-4))
                return -1;
            int64_t right = count_right(f, p, held_out, held);
            p->trials[p->n_trials++] = (struct probe_trial){f->l2, (double)right / (double)held};
            if (right > best_right || (right == best_right && f->l2 > best)) {
                best_right = right;
                best = f->l2;
            }
        }
    }
    f->l2 = best;
    qsort(p->trials, (size_t)p->n_trials, sizeof *p->trials, by_l2);
    return 0;
}

/* Sets p->seen and p->class_of. Sets `target` [x->n] to each row's index into class_of, and
 * `sorted` [x->n] to the rows in order of class. */
static int index_classes(struct probe *p, const struct feature_set *x, int *target, int64_t *sorted)
{
    int64_t *first = calloc((size_t)p->classes + 1, sizeof *first);
    int *index = calloc((size_t)p->classes, sizeof *index);
    p->class_of = calloc((size_t)p->classes, sizeof *p->class_of);
    if (!first || !index || !p->class_of) {
        free(first);
        free(index);
        return fail("out of memory for %d classes", p->classes);
    }
    for (int64_t i = 0; i < x->n; i++)
        first[x->y[i] + 1]++;
    for (int c = 0; c < p->classes; c++) {
        if (first[c + 1]) {
            index[c] = p->seen;
            p->class_of[p->seen++] = c;
        }
        first[c + 1] += first[c];
    }
    for (int64_t i = 0; i < x->n; i++) {
        target[i] = index[x->y[i]];
        sorted[first[x->y[i]]++] = i;
    }
    free(first);
    free(index);
    if (p->seen < 2)
        return fail("the training rows are all of class %d: nothing to tell apart", p->class_of[0]);
    return 0;
}

static int allocate(struct probe *p, struct fit *f)
{
    size_t width = (size_t)p->width, seen = (size_t)p->seen, weights = width * seen;
    p->w = calloc(weights, sizeof *p->w);
    p->b = calloc(seen, sizeof *p->b);
    p->mean = calloc(width, sizeof *p->mean);
    p->inverse_std = calloc(width, sizeof *p->inverse_std);
    f->w = malloc(weights * sizeof *f->w);
    f->gradient = malloc(CHUNKS * (weights + seen) * sizeof *f->gradient);
    f->scratch = malloc(CHUNKS * ROWS * (width + seen) * sizeof *f->scratch);
    bool enough = p->w && p->b && p->mean && p->inverse_std && f->w && f->gradient && f->scratch;
    if (width <= MAX_FACTOR) {
        f->correlation = malloc(width * width * sizeof *f->correlation);
        f->factor = malloc(width * width * sizeof *f->factor);
        enough = enough && f->correlation && f->factor;
    }
    return enough ? 0 : fail("out of memory for a probe of %zu features", width);
}

int probe_fit(struct probe *p, const struct feature_set *train, int classes, double l2,
              double holdout, progress_line *progress)
{
    *p = (struct probe){.classes = classes, .width = train->width};
    const int64_t held = l2 < 0 ? probe_held_out(train, classes, holdout) : 2;
    if (held < 0)
        return -1;
    if (held < 2)
        return fail("%lld training rows are too few to choose l2: give it", (long long)train->n);
    if (train->width > INT32_MAX / 2 / classes)
        return fail("%lld features of %d classes are too many", (long long)train->width, classes);
    int *target = malloc((size_t)train->n * sizeof *target);
    int64_t *sorted = malloc((size_t)train->n * 2 * sizeof *sorted);
    struct fit f = {.p = p, .x = train, .progress = progress, .target = target, .l2 = l2};
    int result = target && sorted ? 0 : fail_memory(NULL);
    if (!result)
        result = index_classes(p, train, target, sorted);
    if (!result)
        result = allocate(p, &f);
    openblas_set_num_threads(1); /* OpenMP runs one thread for each chunk of rows */
    if (!result) {
        measure(p, train);
        result = f.correlation ? correlate(&f, f.correlation) : 0;
    }
    if (!result && l2 < 0)
        result = choose_l2(&f, p, holdout, sorted, sorted + train->n);
    if (!result) {
        f.rows = sorted;
        f.n = train->n;
        result = minimize(&f, p, 1e-6);
    }
    p->l2 = f.l2;
    p->iterations = f.iterations;
    free(f.correlation);
    free(f.factor);
    free(f.w);
    free(f.gradient);
    free(f.scratch);
    free(target);
    free(sorted);
    return result;
}

int probe_classify(const struct probe *p, const struct feature_set *x,
                   struct prediction *predictions)
{
    if (x->width != p->width)
        return fail("training rows have %lld features, test rows %lld", (long long)p->width,
                    (long long)x->width);
    int failed = 0;
#pragma omp parallel for
    for (int64_t at = 0; at < x->n; at += ROWS) {
        int64_t n = x->n - at < ROWS ? x->n - at : ROWS;
        double *rows = malloc((size_t)(ROWS * (p->width + p->seen)) * sizeof *rows);
        double *all = malloc((size_t)p->classes * sizeof *all);
        if (!rows || !all) {
#pragma omp atomic write
            failed = 1;
            n = 0;
        }
        double *logits = rows ? rows + ROWS * p->width : NULL;
        for (int64_t i = 0; i < n; i++)
            standardize(x->x + (at + i) * p->width, p->mean, p->inverse_std, p->width,
                        rows + i * p->width);
        if (n)
            compute_logits(p, p->w, p->b, rows, n, logits);
        for (int64_t i = 0; i < n; i++) {
            for (int c = 0; c < p->classes; c++)
                all[c] = -INFINITY;
            for (int c = 0; c < p->seen; c++)
                all[p->class_of[c]] = logits[i * p->seen + c];
            predictions[at + i] = scores_predict(all, p->classes, x->y[at + i]);
        }
        free(rows);
        free(all);
    }
    return failed ? fail("out of memory for the test rows") : 0;
}

void probe_free(struct probe *p)
{
    free(p->class_of);
    free(p->w);
    free(p->b);
    free(p->mean);
    free(p->inverse_std);
    *p = (struct probe){0};
}
