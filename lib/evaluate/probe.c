/* On correlated features L-BFGS needs hundreds of iterations, so it minimizes over U = R W instead
 * of W, where R'R = S / seen + l2 I is the Hessian at W = 0 and S is the correlation matrix of the
 * features (Boehning 1992 shows that R'R bounds the Hessian elsewhere). This changes the path of
 * the iterations, not the minimum (preconditioner.h).
 *
 * An iteration reads the features once, some rows at a time: it computes their logits and, while they
 * are in a cache, what they add to the gradient. Features are standardized as they are read: their
 * mean is subtracted there, and the standard deviation is in the weights. Sums over rows are taken in
 * CHUNKS chunks, each in the order of its rows, and the chunks are added in order. */
#include "evaluate/probe.h"

#include <lbfgs.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "base/stop.h"
#include "evaluate/class_products.h"
#include "evaluate/preconditioner.h"

enum {
    CHUNKS = 16,
    ROWS = CLASS_PRODUCTS_ROWS, /* rows at a time */
    TILE = 128                  /* features in a tile */
};

struct fit {
    const struct probe *p;
    const struct feature_set *x;
    progress_line *progress; /* or NULL */
    const int *target;       /* [x->n] index into class_of */
    const int64_t *rows;     /* [n] the rows that are fitted */
    int64_t n;
    double l2;
    struct preconditioner change;
    double *w;        /* [seen,D] W for the present U */
    double *scaled;   /* [seen,D] W / standard deviation */
    double *gradient; /* [CHUNKS][seen * D + seen] */
    double *logits;   /* [CHUNKS][ROWS * seen] */
    double loss[CHUNKS];
    int iterations;
};

/* Writes w [seen,D] for features that only the mean was subtracted from. */
static void scale_weights(const struct probe *p, const double *w, double *scaled)
{
    for (int64_t c = 0; c < p->seen; c++)
        for (int64_t j = 0; j < p->width; j++)
            scaled[c * p->width + j] = w[c * p->width + j] * p->inverse_std[j];
}

/* Computes logits [n,seen] of at most ROWS rows. */
static void compute_logits(const struct probe *p, const double *scaled, const double *b,
                           const float *const *rows, int64_t n, double *logits)
{
    class_products_logits(rows, n, p->width, p->mean, scaled, p->seen, logits);
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < p->seen; c++)
            logits[i * p->seen + c] += b[c];
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
    double *logits = f->logits + chunk * ROWS * seen;
    const float *rows[ROWS];
    memset(g, 0, (size_t)(seen * width + seen) * sizeof *g);
    f->loss[chunk] = 0;
    for (int64_t at = begin; at < end; at += ROWS) {
        int64_t n = end - at < ROWS ? end - at : ROWS;
        for (int64_t i = 0; i < n; i++)
            rows[i] = f->x->x + f->rows[at + i] * width;
        compute_logits(p, f->scaled, b, rows, n, logits);
        for (int64_t i = 0; i < n; i++) {
            f->loss[chunk] +=
                cross_entropy(logits + i * seen, (int)seen, f->target[f->rows[at + i]]);
            for (int64_t c = 0; c < seen; c++)
                gb[c] += logits[i * seen + c];
        }
        class_products_gradient(rows, n, width, p->mean, logits, seen, 0, width, g);
    }
}

/* Adds up the chunks' gradients into the first one's, for features of standard deviation 1. */
static void add_chunks(const struct fit *f)
{
    const int64_t width = f->p->width, weights = f->p->seen * width, n = weights + f->p->seen;
#pragma omp parallel for
    for (int64_t at = 0; at < n; at += TILE)
        for (int64_t j = at; j < n && j < at + TILE; j++) {
            double sum = 0;
            for (int chunk = 0; chunk < CHUNKS; chunk++)
                sum += f->gradient[chunk * n + j];
            f->gradient[j] = j < weights ? sum * f->p->inverse_std[j % width] : sum;
        }
}

/* Returns the loss at u and stores its gradient in g. This is the objective of lbfgs(). */
static lbfgsfloatval_t evaluate(void *instance, const lbfgsfloatval_t *u, lbfgsfloatval_t *g,
                                const int n, const lbfgsfloatval_t step)
{
    struct fit *f = instance;
    (void)step;
    int64_t seen = f->p->seen, weights = seen * f->p->width;
    preconditioner_apply(&f->change, u, seen, f->w);
    scale_weights(f->p, f->w, f->scaled);
#pragma omp parallel for schedule(dynamic)
    for (int chunk = 0; chunk < CHUNKS; chunk++)
        sum_chunk(f, chunk, u + weights);
    add_chunks(f);

    double loss = 0, penalty = 0, scale = 1 / (double)f->n;
    for (int chunk = 0; chunk < CHUNKS; chunk++)
        loss += f->loss[chunk];
    for (int64_t j = 0; j < n; j++)
        f->gradient[j] *= scale;
    for (int64_t j = 0; j < weights; j++) {
        penalty += f->w[j] * f->w[j];
        f->gradient[j] += f->l2 * f->w[j];
    }
    preconditioner_chain(&f->change, f->gradient, seen, g);
    memcpy(g + weights, f->gradient + weights, (size_t)seen * sizeof *g);
    return loss * scale + f->l2 / 2 * penalty;
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

/* The length of the gradient, relative to that of the weights, at which a fit ends. Values of l2 that
 * are only tried need it as well: at 1e-4 their accuracies were up to 3 points below those of the
 * minimum where l2 is small. */
static const double tolerance = 1e-6;

/* Fits at f->l2, starting from p->w and p->b, and leaves the result there. */
static int minimize(struct fit *f, struct probe *p)
{
    int width = (int)p->width, weights = p->seen * width, n = weights + p->seen;
    if (preconditioner_set(&f->change, 1 / (double)p->seen, f->l2))
        return -1;
    double *u = lbfgs_malloc(n);
    if (!u)
        return fail("out of memory for %d weights", n);
    preconditioner_undo(&f->change, p->w, p->seen, u);
    memcpy(u + weights, p->b, (size_t)p->seen * sizeof *u);

    lbfgs_parameter_t settings;
    lbfgs_parameter_init(&settings);
    settings.m = 10;
    settings.epsilon = tolerance;
    settings.max_iterations = 5000;
    double loss;
    f->iterations = 0;
    int result = lbfgs(n, u, &loss, evaluate, after_iteration, f, &settings);
    preconditioner_apply(&f->change, u, p->seen, p->w);
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
    int64_t right = 0;
    scale_weights(p, p->w, f->scaled);
#pragma omp parallel for reduction(+ : right)
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        double *logits = f->logits + chunk * ROWS * p->seen;
        const int64_t end = n * (chunk + 1) / CHUNKS;
        for (int64_t i = n * chunk / CHUNKS; i < end; i++) {
            const float *row = f->x->x + rows[i] * p->width;
            compute_logits(p, f->scaled, p->b, &row, 1, logits);
            right += scores_predict(logits, p->seen, f->target[rows[i]]).rank == 0;
        }
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
            if (minimize(f, p))
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
    f->scaled = malloc(weights * sizeof *f->scaled);
    f->gradient = malloc(CHUNKS * (weights + seen) * sizeof *f->gradient);
    f->logits = malloc(CHUNKS * ROWS * seen * sizeof *f->logits);
    bool enough =
        p->w && p->b && p->mean && p->inverse_std && f->w && f->scaled && f->gradient && f->logits;
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
    if (!result) {
        measure(p, train);
        result = preconditioner_make(&f.change, train, p->mean, p->inverse_std, p->seen, progress);
    }
    if (!result && l2 < 0)
        result = choose_l2(&f, p, holdout, sorted, sorted + train->n);
    if (!result) {
        f.rows = sorted;
        f.n = train->n;
        result = minimize(&f, p);
    }
    p->l2 = f.l2;
    p->iterations = f.iterations;
    preconditioner_free(&f.change);
    free(f.w);
    free(f.scaled);
    free(f.gradient);
    free(f.logits);
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
    double *scaled = malloc((size_t)(p->seen * p->width) * sizeof *scaled);
    int failed = !scaled;
    if (scaled)
        scale_weights(p, p->w, scaled);
#pragma omp parallel for
    for (int64_t at = 0; at < x->n; at += ROWS) {
        int64_t n = x->n - at < ROWS ? x->n - at : ROWS;
        const float *rows[ROWS];
        double *logits = malloc((size_t)(ROWS * p->seen) * sizeof *logits);
        double *all = malloc((size_t)p->classes * sizeof *all);
        if (!scaled || !logits || !all) {
#pragma omp atomic write
            failed = 1;
            n = 0;
        }
        for (int64_t i = 0; i < n; i++)
            rows[i] = x->x + (at + i) * p->width;
        if (n)
            compute_logits(p, scaled, p->b, rows, n, logits);
        for (int64_t i = 0; i < n; i++) {
            for (int c = 0; c < p->classes; c++)
                all[c] = -INFINITY;
            for (int c = 0; c < p->seen; c++)
                all[p->class_of[c]] = logits[i * p->seen + c];
            predictions[at + i] = scores_predict(all, p->classes, x->y[at + i]);
        }
        free(logits);
        free(all);
    }
    free(scaled);
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
