/* npy_write: writes an array in the format of numpy.save() (NEP 1), whose number of rows is known
 * only at the end. */
#ifndef NPY_WRITE_H
#define NPY_WRITE_H

#include <stdint.h>

#include "base/atomic_file.h"
#include "frame/tensor.h"

/* An array that is being written. It starts as {0}. The fields are the module's own. */
struct npy_write {
    struct atomic_file to;
    const char *path;
    int64_t rows;
    enum dtype dtype;
    int ndim;                      /* 0: no rows were written yet */
    int64_t shape[FRAME_MAX_DIMS]; /* shape[0] is not used */
};

/* Begins a file that appears when it is complete. It must be a regular file, since its header is
 * written last. The path must outlive the struct. Returns -1 with a message. */
int npy_write_open(struct npy_write *w, const char *path);

/* Appends the rows of a tensor (n, ...), n of which may be 0. A second dimension of 1 is left out,
 * so features (B,1,D) of single views make an array (N,D). Tensors must agree in dtype and in all
 * dimensions but the first. Returns -1 with a message if they do not, if the tensor is a scalar or
 * BF16, which numpy lacks, or if the file cannot be written. */
int npy_write_rows(struct npy_write *w, const struct tensor *t);

/* Completes the file, in C order and little-endian. An array without any rows is an error, since
 * its shape is not known. Returns -1 with a message; frees everything in either case. */
int npy_write_commit(struct npy_write *w);
void npy_write_abandon(struct npy_write *w); /* removes the file; fine after {0} */

#endif
