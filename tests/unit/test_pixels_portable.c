/* test_pixels.c with the pixels' kernels as any machine can run them. */
#include "kernels.h"

#include "test_pixels.c"
