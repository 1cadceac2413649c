/* kernels: the text of kernels.cl, as part of the program. */
#ifndef KERNELS_H
#define KERNELS_H

/* The two texts that make the program of a device, one after the other. Each ends with a zero. */
extern const char kernel_arguments_text[], kernels_text[];

#endif
