/* npy: reads arrays in the format of numpy.save() (NEP 1): a magic string, a version, the length of
 * a header, the header, which is a Python dictionary with descr, fortran_order and shape, and the
 * values.
 *
 * It reads little-endian arrays in C order, of the types below, in versions 1 to 3 of the format.
 * The file must hold exactly what its header claims. */
#ifndef NPY_H
#define NPY_H

#include <stdint.h>
#include <stdio.h>

enum { NPY_MAX_DIMS = 4 };

enum npy_type { NPY_F32, NPY_F64, NPY_U8, NPY_I32, NPY_I64 };

struct npy {
    FILE *file; /* positioned at the first value that has not been read */
    const char *path;
    enum npy_type type;
    int ndim; /* 0: a scalar */
    int64_t shape[NPY_MAX_DIMS];
    int64_t count; /* number of values, for which the file has the bytes */
};

/* Opens a regular file and reads the header. The path must outlive the struct. Returns -1 with a
 * message that names the file and its defect; otherwise the caller calls npy_close(). */
int npy_open(struct npy *n, const char *path);
void npy_close(struct npy *n);

/* Reads the next `count` values, of any type, as doubles. They are exact, except for I64 beyond
 * 2^53. Returns -1 with a message on failure. */
int npy_read(struct npy *n, int64_t count, double *out);

#endif
