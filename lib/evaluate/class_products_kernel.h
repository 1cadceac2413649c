/* The template of the functions of class_products.c for vectors of LANES doubles. It is included once
 * for each kind of vector, with
 *
 *   LANES          values of a vector
 *   ROWS, VECTORS  rows of a block of logits, and vectors of columns of a block of the gradient
 *   TARGET         the attribute of the functions
 *   NAME(name)     their names
 *   WIDEN(v)       converts the LANES floats from v on
 *
 * A block has up to CLASSES classes; its sums stay in registers. */

typedef double NAME(doubles) __attribute__((vector_size(LANES * 8), aligned(8), may_alias));
typedef float NAME(floats) __attribute__((vector_size(LANES * 4), aligned(4), may_alias));

/* Adds the columns from `first` to end - 1, a multiple of LANES of them, of a block of rows to sums
 * [ROWS][CLASSES] of vectors. */
TARGET static inline __attribute__((always_inline)) void
NAME(add_logits)(const float *const *rows, int64_t first, int64_t end, const double *center,
                 const double *w, int64_t width, NAME(doubles) * sums, const int classes)
{
    NAME(doubles) sum[ROWS][CLASSES];
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int c = 0; c < classes; c++)
            sum[r][c] = sums[r * CLASSES + c];
    for (int64_t j = first; j < end; j += LANES) {
        const NAME(doubles) middle = *(const NAME(doubles) *)(center + j);
        NAME(doubles) x[ROWS];
#pragma GCC unroll 8
        for (int r = 0; r < ROWS; r++)
            x[r] = WIDEN(rows[r] + j) - middle;
#pragma GCC unroll 8
        for (int c = 0; c < classes; c++) {
            const NAME(doubles) v = *(const NAME(doubles) *)(w + c * width + j);
#pragma GCC unroll 8
            for (int r = 0; r < ROWS; r++)
                sum[r][c] += x[r] * v;
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int c = 0; c < classes; c++)
            sums[r * CLASSES + c] = sum[r][c];
}

TARGET static void NAME(logits)(const float *const *rows, int64_t n, int64_t width,
                                const double *center, const double *w, int64_t all, int64_t first,
                                int64_t classes, double *z)
{
    /* Rows beyond the last one repeat it. */
    NAME(doubles) sums[(CLASS_PRODUCTS_ROWS + ROWS) * CLASSES];
    const float *used[CLASS_PRODUCTS_ROWS + ROWS];
    const int64_t whole = width / LANES * LANES;
    memset(sums, 0, sizeof sums);
    for (int64_t i = 0; i < n + ROWS; i++)
        used[i] = rows[i < n ? i : n - 1];
    w += first * width;
    for (int64_t at = 0; at < whole; at += COLUMNS) {
        const int64_t end = whole - at < COLUMNS ? whole : at + COLUMNS;
        for (int64_t i = 0; i < n; i += ROWS) {
            NAME(doubles) *to = sums + i * CLASSES;
            switch (classes) {
            case 1:
                NAME(add_logits)(used + i, at, end, center, w, width, to, 1);
                break;
            case 2:
                NAME(add_logits)(used + i, at, end, center, w, width, to, 2);
                break;
            case 3:
                NAME(add_logits)(used + i, at, end, center, w, width, to, 3);
                break;
            case 4:
                NAME(add_logits)(used + i, at, end, center, w, width, to, 4);
                break;
            default:
                NAME(add_logits)(used + i, at, end, center, w, width, to, 5);
            }
        }
    }
    for (int64_t i = 0; i < n; i++)
        for (int64_t c = 0; c < classes; c++) {
            double sum = 0;
            for (int l = 0; l < LANES; l++)
                sum += sums[i * CLASSES + c][l];
            for (int64_t j = whole; j < width; j++)
                sum += ((double)rows[i][j] - center[j]) * w[c * width + j];
            z[i * all + first + c] = sum;
        }
}

/* Adds VECTORS vectors of columns from j on of n rows to a block of the gradient. */
TARGET static inline __attribute__((always_inline)) void
NAME(add_gradient)(const float *const *rows, int64_t n, int64_t j, const double *center,
                   const double *r, int64_t all, double *g, int64_t width, const int classes,
                   const int vectors)
{
    NAME(doubles) sum[CLASSES][VECTORS], middle[VECTORS];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++) {
        middle[v] = *(const NAME(doubles) *)(center + j + v * LANES);
#pragma GCC unroll 8
        for (int c = 0; c < classes; c++)
            sum[c][v] = *(const NAME(doubles) *)(g + c * width + j + v * LANES);
    }
    for (int64_t i = 0; i < n; i++, r += all) {
        NAME(doubles) x[VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            x[v] = WIDEN(rows[i] + j + v * LANES) - middle[v];
#pragma GCC unroll 8
        for (int c = 0; c < classes; c++)
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                sum[c][v] += x[v] * r[c];
    }
#pragma GCC unroll 8
    for (int v = 0; v < vectors; v++)
#pragma GCC unroll 8
        for (int c = 0; c < classes; c++)
            *(NAME(doubles) *)(g + c * width + j + v * LANES) = sum[c][v];
}

#define ADD(classes, vectors)                                                                      \
    NAME(add_gradient)(rows, n, j, center, r, all, g, width, classes, vectors)
#define ADD_CLASSES(vectors)                                                                       \
    switch (classes) {                                                                             \
    case 1:                                                                                        \
        ADD(1, vectors);                                                                           \
        break;                                                                                     \
    case 2:                                                                                        \
        ADD(2, vectors);                                                                           \
        break;                                                                                     \
    case 3:                                                                                        \
        ADD(3, vectors);                                                                           \
        break;                                                                                     \
    case 4:                                                                                        \
        ADD(4, vectors);                                                                           \
        break;                                                                                     \
    default:                                                                                       \
        ADD(5, vectors);                                                                           \
    }

TARGET static void NAME(gradient)(const float *const *rows, int64_t n, int64_t width,
                                  const double *center, const double *r, int64_t all, int64_t from,
                                  int64_t classes, int64_t first, int64_t end, double *g)
{
    int64_t j = first;
    r += from;
    g += from * width;
    for (; j + VECTORS * LANES <= end; j += VECTORS * LANES)
        ADD_CLASSES(VECTORS)
    for (; j + LANES <= end; j += LANES)
        ADD_CLASSES(1)
    for (; j < end; j++)
        for (int64_t c = 0; c < classes; c++)
            for (int64_t i = 0; i < n; i++)
                g[c * width + j] += ((double)rows[i][j] - center[j]) * r[i * all + c];
}

#undef ADD
#undef ADD_CLASSES
#undef LANES
#undef ROWS
#undef VECTORS
#undef TARGET
#undef NAME
#undef WIDEN
