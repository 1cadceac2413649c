/* similarity: what losses over all pairs of n rows have in common: the similarities u_i.u_j in
 * tiles, and the gradient that follows from a coefficient for each pair. No matrix (n, n) is ever
 * in memory.
 *
 * Rows of a class follow each other and are each other's positives; all other rows are a row's
 * negatives. As s_ij = u_i.u_j is symmetric, only tiles on and above the diagonal are made, and
 * each serves its rows and its columns: a loss sees s_ij once, as row i's and as row j's, and
 * leaves in its place c_ij + c_ji, the sum of the derivatives of row i's loss and of row j's. Then
 *
 *   dL/du_i = sum over j of (c_ij + c_ji) u_j
 *
 * and the gradient goes back through the normalization. All threads of an OpenMP parallel region
 * call the functions that are "for a team"; results do not depend on their number. */
#ifndef SIMILARITY_H
#define SIMILARITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/gemm_kernel.h"
#include "loss/loss_types.h"

enum { SIMILARITY_TILE = 192, SIMILARITY_LANES = 16 };

/* A matrix in panels: `width` columns are together, for all rows, and panel follows panel. A row of
 * a panel then is a row of A in a block product, and if width is the kernel's columns, a panel is a
 * B as well. */
struct similarity_matrix {
    float *values;
    int64_t rows;
    const struct gemm_step *steps; /* along a row, if the matrix is an A */
};

/* A thread's tile, and memory for the loss to use. */
struct similarity_worker {
    float values[SIMILARITY_TILE * SIMILARITY_TILE] __attribute__((aligned(64)));
    float row[3][SIMILARITY_TILE][SIMILARITY_LANES]; /* what the tile's rows have collected */
    float *panel;                  /* for a copy of one (SIMILARITY_TILE, width) */
    float *packed;                 /* a B of one block, where panels are none; else NULL */
    struct similarity_matrix tile; /* of the values: similarities, then coefficients */
};

struct similarity {
    const struct gemm_kernel *product;
    int64_t n, d;
    /* Columns of a panel: the kernel's columns or, if these are no multiple of 16, their least
     * common multiple with 16. */
    int64_t width;
    int64_t blocks; /* of SIMILARITY_TILE rows; arrays that tiles index have blocks tiles of room */
    const int64_t *order;             /* row i is z's row order[i] (n); NULL: i */
    const int64_t *ends;              /* the row after the last of row i's class (n) */
    double *norms;                    /* that rows were divided by (n) */
    double *along;                    /* u_i.dL/du_i, once similarity_finish() has run (n) */
    struct similarity_matrix u, du;   /* (n, d) */
    struct similarity_matrix across;  /* (d, n): u transposed */
    struct similarity_matrix dacross; /* (d, n): a part of du, transposed */
    _Atomic int64_t *rounds;          /* that a block is through with (blocks) */
    struct similarity_worker *workers;
    unsigned char *memory; /* of all of these */
};

/* Returns 0, or -1 with a message if memory is out or the kernel cannot be used: it multiplies
 * floats, keeps the contract of gemm_kernel.h, and its rows and the panels' width divide
 * SIMILARITY_TILE. The caller keeps `ends` and `order`, which must live as long as p does. Call
 * similarity_close() in any case; p must be zeros or opened. */
int similarity_open(struct similarity *p, const struct loss_input *in, const int64_t *order,
                    const int64_t *ends);
void similarity_close(struct similarity *p);

/* Returns the rows of arrays that tiles index. */
static inline int64_t similarity_room(const struct similarity *p)
{
    return p->blocks * SIMILARITY_TILE;
}

/* For a team: takes the rows from z. */
void similarity_load(struct similarity *p, const struct loss_input *in);

/* For a team: visits the tiles, from row i and column j, i <= j; with `positives`, only those that
 * may hold positives. A row and a column are in one visitor's hands at a time, and always come to
 * their tiles in the same order: so the visitor may add to what belongs to them. */
typedef void similarity_visitor(struct similarity *p, void *loss, struct similarity_worker *w,
                                int64_t i, int64_t j);
void similarity_visit(struct similarity *p, similarity_visitor *visit, void *loss, bool positives);

/* In a visitor: computes the similarities of the rows from i on and the columns from j + c on, c
 * being a multiple of p->width. Returns them as a panel (SIMILARITY_TILE, p->width) of the tile
 * from i and j. What does not count is -infinity: columns that are not there, and in diagonal tiles
 * the diagonal and all below it. */
float *similarity_panel(const struct similarity *p, struct similarity_worker *w, int64_t i,
                        int64_t j, int64_t c);

/* Sets *from and *to to the columns of a panel's row r that are its positives (similarity_panel());
 * there are none if *to <= *from. */
static inline void similarity_positives(const struct similarity *p, int64_t i, int64_t j, int64_t c,
                                        int64_t r, int64_t *from, int64_t *to)
{
    const int64_t first = i + r + 1 - j - c, end = i + r < p->n ? p->ends[i + r] - j - c : 0;
    *from = first > 0 ? first : 0;
    *to = end < p->width ? end : p->width;
}

/* Returns whether the panel from row i and this column may hold positives. */
static inline bool similarity_has_positives(const struct similarity *p, int64_t i, int64_t column)
{
    return p->ends[(i + SIMILARITY_TILE < p->n ? i + SIMILARITY_TILE : p->n) - 1] > column;
}

/* Sets the positives of a panel to -infinity, so that a search for negatives passes them by. */
void similarity_hide_positives(const struct similarity *p, float *panel, int64_t i, int64_t j,
                               int64_t c);

/* In a visitor: adds to the gradients of the tile's rows and columns what its coefficients give. */
void similarity_multiply(struct similarity *p, struct similarity_worker *w, int64_t i, int64_t j);

/* Adds coefficient u_j to the gradient of row i, where j is of its class. Only the thread that has
 * row i may call it. */
void similarity_add(struct similarity *p, int64_t i, int64_t j, double coefficient);

/* For a team: sets dz (n, d) to `scale` times the gradient, through the normalization. */
void similarity_finish(struct similarity *p, const struct loss_input *in, double scale, float *dz);

#endif
