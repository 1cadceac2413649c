/* Runs test_pixels.c with the versions of the pixels' functions that any machine can run. */
#include "kernels.h"

#include "test_pixels.c"
