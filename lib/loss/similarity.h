/* similarity: the code shared by losses over all pairs of n rows. It computes the similarities
 * u_i.u_j in tiles, and the gradient that follows from a coefficient for each pair. It never keeps
 * an (n, n) matrix in memory.
 *
 * The rows of a class are adjacent and are each other's positives; all other rows are a row's
 * negatives. Since s_ij = u_i.u_j is symmetric, only tiles on and above the diagonal are computed,
 * and each serves its rows and its columns. A loss sees s_ij once, for row i and for row j, and
 * replaces it by c_ij + c_ji, the sum of the derivatives of row i's loss and of row j's. Then
 *
 *   dL/du_i = sum over j of (c_ij + c_ji) u_j
 *
 * and the gradient is propagated back through the normalization. A function "for a team" must be
 * called by all threads of an OpenMP parallel region; the results do not depend on their number. */
#ifndef SIMILARITY_H
#define SIMILARITY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "engine/gemm_kernel.h"
#include "loss/loss_types.h"

enum { SIMILARITY_TILE = 192, SIMILARITY_LANES = 16 };

/* A matrix in panels. A panel holds `width` columns, for all rows, and one panel follows the other.
 * A row of a panel can then serve as a row of A in a block product. If width is the number of the
 * kernel's columns, a panel can also serve as a B. */
struct similarity_matrix {
    float *values;
    int64_t rows;
    const struct gemm_step *steps; /* the steps along a row, if the matrix is an A */
};

/* A thread's tile, and memory for the loss to use. */
struct similarity_worker {
    float values[SIMILARITY_TILE * SIMILARITY_TILE] __attribute__((aligned(64)));
    float row[3][SIMILARITY_TILE][SIMILARITY_LANES]; /* sums of the tile's rows */
    float *panel;                  /* room for a copy of a panel (SIMILARITY_TILE, width) */
    float *packed;                 /* a B of one block, if panels cannot serve as B; else NULL */
    struct similarity_matrix tile; /* the values: similarities, then coefficients */
};

/* The rows of a batch, their gradients, and the memory of all threads. */
struct similarity {
    const struct gemm_kernel *product;
    int64_t n, d;
    /* The columns of a panel: the kernel's columns or, if they are not a multiple of 16, their
     * least common multiple with 16. */
    int64_t width;
    int64_t blocks; /* of SIMILARITY_TILE rows; arrays indexed by tiles have this many tiles */
    const int64_t *order;             /* row i is z's row order[i] (n); NULL if it is i */
    const int64_t *ends;              /* the row after the last of row i's class (n) */
    double *norms;                    /* norms by which rows were divided (n) */
    double *along;                    /* u_i.dL/du_i, once similarity_finish() has run (n) */
    struct similarity_matrix u, du;   /* (n, d) */
    struct similarity_matrix across;  /* (d, n): u transposed */
    struct similarity_matrix dacross; /* (d, n): a part of du, transposed */
    _Atomic int64_t *rounds;          /* rounds that each block has completed (blocks) */
    struct similarity_worker *workers;
    unsigned char *memory; /* holds all of these */
};

/* Opens p. Returns 0, or -1 with a message if memory is out or the kernel cannot be used: it must
 * multiply floats and keep the contract of gemm_kernel.h, and its rows and the panels' width must
 * divide SIMILARITY_TILE. The caller keeps `ends` and `order`, which must live as long as p. The
 * caller must call similarity_close() in any case, on a p that is all zeros or that was opened. */
int similarity_open(struct similarity *p, const struct loss_input *in, const int64_t *order,
                    const int64_t *ends);
void similarity_close(struct similarity *p);

/* Copies the rows from z, normalized if in->normalize is set. For a team. */
void similarity_load(struct similarity *p, const struct loss_input *in);

/* similarity_visit() calls a visitor for each tile, which starts at row i and column j, i <= j.
 * With `positives` it visits only those tiles that may hold positives. Only one visitor at a time
 * has a given row or column, and each row and column always gets its tiles in the same order. A
 * visitor may therefore add to values that belong to its rows and columns. For a team. */
typedef void similarity_visitor(struct similarity *p, void *loss, struct similarity_worker *w,
                                int64_t i, int64_t j);
void similarity_visit(struct similarity *p, similarity_visitor *visit, void *loss, bool positives);

/* Computes the similarities of the rows from i on and the columns from j + c on; c must be a
 * multiple of p->width. Returns them as a panel (SIMILARITY_TILE, p->width) of the tile that starts
 * at i and j. Entries that do not count are -infinity: columns beyond the last, and in tiles on the
 * diagonal all entries on and below it. Called by visitors. */
float *similarity_panel(const struct similarity *p, struct similarity_worker *w, int64_t i,
                        int64_t j, int64_t c);

/* Sets *from and *to to the range of columns of a panel (similarity_panel()) that are positives of
 * its row r. There are none if *to <= *from. */
static inline void similarity_positives(const struct similarity *p, int64_t i, int64_t j, int64_t c,
                                        int64_t r, int64_t *from, int64_t *to)
{
    const int64_t first = i + r + 1 - j - c, end = i + r < p->n ? p->ends[i + r] - j - c : 0;
    *from = first > 0 ? first : 0;
    *to = end < p->width ? end : p->width;
}

/* Returns true if the panel from row i and this column may hold positives. */
static inline bool similarity_has_positives(const struct similarity *p, int64_t i, int64_t column)
{
    return p->ends[(i + SIMILARITY_TILE < p->n ? i + SIMILARITY_TILE : p->n) - 1] > column;
}

/* Sets the positives of a panel to -infinity, so that a search for negatives ignores them. */
void similarity_hide_positives(const struct similarity *p, float *panel, int64_t i, int64_t j,
                               int64_t c);

/* Adds the contribution of the tile's coefficients to the gradients of its rows and columns. Called
 * by visitors. */
void similarity_multiply(struct similarity *p, struct similarity_worker *w, int64_t i, int64_t j);

/* Adds coefficient u_j to the gradient of row i, where j is of the same class. Only the thread that
 * has row i may call it. */
void similarity_add(struct similarity *p, int64_t i, int64_t j, double coefficient);

/* Sets dz (n, d) to `scale` times the gradient, propagated through the normalization. For a team.
 */
void similarity_finish(struct similarity *p, const struct loss_input *in, double scale, float *dz);

/* Returns u_i.u_j, computed in float64 from z. similarity_load() must have run. */
double similarity_exact(const struct similarity *p, const struct loss_input *in, int64_t i,
                        int64_t j);

/* Adds to row i of dz the gradient of `coefficient` times u_i.u_j, which is `product`, after
 * similarity_finish(). All of it is computed in float64, so that it is exact to rounding even if
 * the rows are almost equal and the gradient is near 0. */
void similarity_pull(const struct similarity *p, const struct loss_input *in, int64_t i, int64_t j,
                     double product, double coefficient, float *dz);

/* Returns the length by which a row is divided: |z|, or 1e-12 if it is shorter. Returns 1 without
 * `normalize`. */
double similarity_length(const float *z, int64_t d, bool normalize);

/* ---- rows without a gradient ---- */

/* Rows of another matrix (n, d) that the batch's rows are compared with, and that get no gradient:
 * those of a queue, or of a momentum encoder. */
struct similarity_others {
    int64_t n;
    struct similarity_matrix rows;   /* (n, d) */
    struct similarity_matrix across; /* (d, n): the same transposed */
    unsigned char *memory;           /* holds both */
};

/* Makes room for n rows, which may be 0, beside the batch that p was opened for. Returns 0, or -1
 * with a message if memory is out. The caller must call similarity_others_close() in any case, on
 * others that are all zeros or that were opened. */
int similarity_others_open(struct similarity_others *o, const struct similarity *p, int64_t n);
void similarity_others_close(struct similarity_others *o);

/* Copies the rows from z (n, d), row-major. For a team. */
void similarity_others_load(struct similarity_others *o, const struct similarity *p,
                            const float *z);

/* Computes the products of the batch's rows from i on, `rows` of them, with the others from j + c
 * on; j is a multiple of SIMILARITY_TILE, and c of p->width. Returns them as a panel
 * (SIMILARITY_TILE, p->width) of w's tile, of which the first `rows` rows are set. Columns beyond
 * the last are -infinity. `rows` is at most SIMILARITY_TILE. */
float *similarity_others_panel(const struct similarity_others *o, const struct similarity *p,
                               struct similarity_worker *w, int64_t i, int64_t rows, int64_t j,
                               int64_t c);

/* Adds coefficients times others to `sums` (n, d), a matrix like p->u: the first `rows` rows of w's
 * tile are the coefficients of the batch's rows from i on and of the others from j on. */
void similarity_others_multiply(const struct similarity_others *o, const struct similarity *p,
                                struct similarity_worker *w, struct similarity_matrix *sums,
                                int64_t i, int64_t rows, int64_t j);

/* Returns the floats of a matrix (n, d) like p->u. All of them must be 0 before it is used. */
size_t similarity_room(const struct similarity *p);

/* Adds coefficient times row i of a matrix like p->u to the gradient of row i, and returns their
 * share of u_i.dL/du_i: coefficient u_i.row. Only the thread that has row i may call it. */
double similarity_add_sums(struct similarity *p, const struct similarity_matrix *sums, int64_t i,
                           double coefficient);

/* Adds coefficient times a row (d) to the gradient of row i. Only the thread that has row i may
 * call it. */
void similarity_add_row(struct similarity *p, int64_t i, const float *row, double coefficient);

#endif
