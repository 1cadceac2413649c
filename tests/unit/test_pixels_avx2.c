/* Runs test_pixels.c with the versions of the pixels' functions for machines with AVX2 but without
 * AVX-512. */
#pragma GCC push_options
#if defined(__x86_64__)
#define NEEDS ISA_AVX2
#pragma GCC target("arch=x86-64-v3")
#endif
#include "kernels.h"
#pragma GCC pop_options

#include "test_pixels.c"
