/* opencl_queue: the commands of one device: its kernels (kernels.cl), memory and copies.
 *
 * Commands run in the order in which they are given. A function that returns nothing only adds a
 * command; if one fails, all later ones do nothing, and the next function that returns an int
 * returns -1 with the message of the first failure. One thread uses a queue at a time. */
#ifndef OPENCL_QUEUE_H
#define OPENCL_QUEUE_H

#include <CL/cl.h>
#include <stddef.h>

/* The kernels, by their names in kernels.cl. */
#define OPENCL_KERNELS(KERNEL)                                                                     \
    KERNEL(sum_pairs)                                                                              \
    KERNEL(load_bytes)                                                                             \
    KERNEL(pack_weights)                                                                           \
    KERNEL(conv_pass)                                                                              \
    KERNEL(conv_gradient)                                                                          \
    KERNEL(gather_gradient)                                                                        \
    KERNEL(winograd_weights)                                                                       \
    KERNEL(winograd_input)                                                                         \
    KERNEL(winograd_output)                                                                        \
    KERNEL(norm_forward)                                                                           \
    KERNEL(norm_backward_sums)                                                                     \
    KERNEL(norm_backward)                                                                          \
    KERNEL(max_pool)                                                                               \
    KERNEL(max_pool_backward)                                                                      \
    KERNEL(average_pool)                                                                           \
    KERNEL(average_pool_backward)                                                                  \
    KERNEL(mean_pool)                                                                              \
    KERNEL(mean_pool_backward)                                                                     \
    KERNEL(halves_mix)                                                                             \
    KERNEL(halves_mix_backward)

#define OPENCL_NUMBER(name) OPENCL_KERNEL_##name,
enum opencl_kernel { OPENCL_KERNELS(OPENCL_NUMBER) OPENCL_N_KERNELS };
#undef OPENCL_NUMBER

/* A place in a block of the device's memory. */
struct opencl_place {
    cl_mem memory;
    cl_ulong at; /* in bytes */
};

struct opencl_queue;

/* Returns the queue of the device of this name (opencl_devices.h), or NULL with a message if there
 * is no such device or its kernels do not compile. The caller closes it; NULL is fine. */
struct opencl_queue *opencl_open(const char *device);
void opencl_close(struct opencl_queue *q);

/* Return a block of the device's memory, which the caller releases, or NULL without a message if it
 * is out. A device may find out only when the block is first used. */
cl_mem opencl_allocate(struct opencl_queue *q, size_t bytes);
void opencl_release(struct opencl_queue *q, cl_mem memory);

/* Makes *memory a block of at least that many bytes, and sets *capacity to its size. Its contents
 * are lost if it has to grow. The caller releases it. */
void opencl_grow(struct opencl_queue *q, cl_mem *memory, size_t *capacity, size_t bytes);

/* Runs a kernel in groups of ITEMS items. Its arguments are `sizes`, a struct of
 * kernel_arguments.h, and then the places. */
void opencl_run(struct opencl_queue *q, enum opencl_kernel kernel, const size_t groups[3],
                const void *sizes, size_t sizes_bytes, const struct opencl_place *places,
                int n_places);

/* opencl_write() copies bytes to the device. opencl_upload() does so for at most 4 MiB that the next
 * command uses, and returns their place, which is valid for that command. In both, the host's memory
 * may change when the function returns. opencl_read() waits for all commands, and copies bytes from
 * the device. */
void opencl_write(struct opencl_queue *q, const void *from, size_t bytes, struct opencl_place to);
struct opencl_place opencl_upload(struct opencl_queue *q, const void *from, size_t bytes);
int opencl_read(struct opencl_queue *q, struct opencl_place from, size_t bytes, void *to);

/* Makes the queue fail with this message, unless it has failed before. */
void opencl_fail(struct opencl_queue *q, const char *what);

#endif
