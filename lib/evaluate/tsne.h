/* tsne: a map of features in the plane, in which rows that are near each other stay near (van der
 * Maaten and Hinton, "Visualizing data using t-SNE", JMLR 2008).
 *
 * Row i regards row j as its neighbour with the probability p(j|i), a Gaussian of their distance
 * whose width is chosen such that 2^entropy is the perplexity. The map minimizes the
 * Kullback-Leibler divergence between the mean of p(j|i) and p(i|j), and the same for Student's t
 * with one degree of freedom in the plane. */
#ifndef TSNE_H
#define TSNE_H

#include <stdint.h>

#include "evaluate/progress_line.h"

enum { TSNE_MAX_ROWS = 10000 };

struct tsne_settings {
    double perplexity;       /* at most (n - 1) / 3 is used, which is what n rows can give */
    int64_t iterations;      /* steps of gradient descent */
    uint64_t seed;           /* of the small noise that is added to the initial map */
    progress_line *progress; /* may be NULL */
};

/* Computes the map [n,2] of n rows x [n,width], which must be finite. It starts from the two first
 * principal components, and uses exact sums over all pairs: time O(n^2) for each iteration, and
 * 4 n^2 bytes of memory. The bits of the result do not depend on the number of threads. Rows that
 * are all equal make a small cloud around 0. Returns -1 with a message if n is above TSNE_MAX_ROWS,
 * if memory is out, or if a signal asks the program to stop. */
int tsne_map(const float *x, int64_t n, int64_t width, const struct tsne_settings *settings,
             float *map);

#endif
