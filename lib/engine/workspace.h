/* workspace: scratch memory of a convolution, with a part for each of its threads. The caller owns
 * it. A call leaves nothing in it that a later call needs. */
#ifndef WORKSPACE_H
#define WORKSPACE_H

#include <omp.h>
#include <stddef.h>

struct workspace {
    unsigned char *memory; /* 64-byte aligned */
    size_t bytes;          /* of each thread's part, a multiple of 64 */
    int threads;
};

/* Returns the part of the calling OpenMP thread. */
static inline unsigned char *workspace_of_thread(const struct workspace *work)
{
    return work->memory + work->bytes * (size_t)omp_get_thread_num();
}

#endif
