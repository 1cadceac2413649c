/* similarity: what losses over all pairs of n rows are made of: similarities u_i.u_j in tiles, and
 * the gradient that follows from a coefficient for each pair. No matrix (n, n) is ever in memory.
 *
 * Rows of a class lie one after the other and are each other's positives; all other rows are a
 * row's negatives. As s_ij = u_i.u_j is symmetric, only tiles on and above the diagonal are made,
 * and each serves its rows and its columns: a loss sees s_ij once, as row i's and as row j's, and
 * leaves in its place c_ij + c_ji, the sum of the derivatives of row i's loss and of row j's. Then
 *
 *   dL/du_i = sum over j of (c_ij + c_ji) u_j
 *
 * and the gradient goes back through the normalization. Functions "of a team" are called by all
 * threads of an OpenMP parallel region; results do not depend on their number. */
#ifndef SIMILARITY_H
#define SIMILARITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/gemm_kernel.h"

/* What a loss is computed of. */
struct similarity_input {
    const float *z; /* (n, d) */
    int64_t n, d;
    bool normalize; /* u is z / |z|, a cosine is what rows are compared by; else u is z */
    int threads;
    const struct gemm_kernel *product; /* of floats; NULL: the fastest that this machine has */
};

/* What a loss says of a batch. */
struct similarity_metrics {
    double loss;     /* in nats, where it is a logarithm */
    double accuracy; /* part of the rows whose best positive is strictly their most similar row */
    double entropy;  /* of a row's softmax over the others, mean, in nats; NAN for losses without */
};

enum { SIMILARITY_TILE = 192, SIMILARITY_LANES = 16 };

/* In panels: as many columns as a product's block has lie together, for all rows, and panel follows
 * panel. A matrix can then be either factor of a product: A by its rows, B by its panels. */
struct similarity_matrix {
    float *values;
    int64_t rows;
    const struct gemm_step *steps; /* along a row, if it is an A */
};

/* A thread's tile, and what its rows have collected so far, for the loss to use. */
struct similarity_worker {
    float values[SIMILARITY_TILE * SIMILARITY_TILE] __attribute__((aligned(64)));
    float row[3][SIMILARITY_TILE][SIMILARITY_LANES];
    float panel[SIMILARITY_TILE * 32]; /* a copy of one */
    struct similarity_matrix tile;     /* of the values: similarities, then coefficients */
};

struct similarity {
    const struct gemm_kernel *product;
    int64_t n, d;
    int64_t blocks; /* of SIMILARITY_TILE rows; arrays that tiles index have blocks tiles of room */
    const int64_t *order;           /* row i is z's row order[i] (n); NULL: i */
    const int64_t *ends;            /* the row after the last of row i's class (n) */
    double *norms;                  /* that rows were divided by (n) */
    double *along;                  /* u_i.dL/du_i, when similarity_finish() is through (n) */
    struct similarity_matrix u, du; /* (n, d) */
    struct similarity_matrix across,
        dacross; /* (d, n): u transposed, and a part of du transposed */
    struct gemm_step *steps;
    float *memory;
    _Atomic int64_t *rounds; /* that a block has behind it (blocks) */
    struct similarity_worker *workers;
};

/* `ends` stays the caller's, and must live as long as p does, as must `order`. -1 with a message
 * when memory is out; similarity_close() in any case. */
int similarity_open(struct similarity *p, const struct similarity_input *in, const int64_t *order,
                    const int64_t *ends);
void similarity_close(struct similarity *p);
/* Rows of arrays that tiles index. */
static inline int64_t similarity_room(const struct similarity *p)
{
    return p->blocks * SIMILARITY_TILE;
}

/* Of a team: takes the rows from z. */
void similarity_load(struct similarity *p, const struct similarity_input *in);

/* Of a team: visits tiles, from row i and column j, i <= j; with `positives`, only those that may
 * hold positives. A row and a column are in one visitor's hands at a time, and always come to the
 * tiles in the same order: so the visitor may add to what belongs to them. */
typedef void similarity_visitor(struct similarity *p, void *loss, struct similarity_worker *w,
                                int64_t i, int64_t j);
void similarity_visit(struct similarity *p, similarity_visitor *visit, void *loss, bool positives);

/* In a visitor: makes the similarities of rows i.. and columns j + c.., in a panel
 * (SIMILARITY_TILE, product->columns) of the tile from i and j. What does not count is -infinity:
 * columns that are not there, and in diagonal tiles the diagonal and all below it. */
float *similarity_panel(const struct similarity *p, struct similarity_worker *w, int64_t i,
                        int64_t j, int64_t c);

/* The columns of a panel's row r that are positives of it (similarity_panel()); none if to <= from.
 */
static inline void similarity_positives(const struct similarity *p, int64_t i, int64_t j, int64_t c,
                                        int64_t r, int64_t *from, int64_t *to)
{
    const int64_t first = i + r + 1 - j - c, end = i + r < p->n ? p->ends[i + r] - j - c : 0;
    *from = first > 0 ? first : 0;
    *to = end < p->product->columns ? end : p->product->columns;
}

/* Whether the panel may hold positives. */
static inline bool similarity_has_positives(const struct similarity *p, int64_t i, int64_t column)
{
    return p->ends[(i + SIMILARITY_TILE < p->n ? i + SIMILARITY_TILE : p->n) - 1] > column;
}

/* The positives of a panel become -infinity, so that who looks for negatives passes them by. */
void similarity_hide_positives(const struct similarity *p, float *panel, int64_t i, int64_t j,
                               int64_t c);

/* In a visitor: adds to the gradient of the tile's rows and columns what its coefficients give. */
void similarity_multiply(struct similarity *p, struct similarity_worker *w, int64_t i, int64_t j);

/* For row i, by whoever has it: adds coefficient u_j to its gradient, where j is of its class. */
void similarity_add(struct similarity *p, int64_t i, int64_t j, double coefficient);

/* Of a team: dz (n, d) gets `scale` times the gradient, through the normalization. */
void similarity_finish(struct similarity *p, const struct similarity_input *in, double scale,
                       float *dz);

#endif
