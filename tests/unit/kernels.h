/* kernels: what MULTIVERSION compiles for each level of vector units, compiled for the present one
 * alone. These functions take the place of the library's. */
#define MULTIVERSION_H
#define MULTIVERSION

#include "views/blur.c"
#include "views/color.c"
#include "views/geometry.c"
#include "views/noise.c"
#include "views/resample.c"
#include "views/sobel.c"
#include "views/weighted_sum.c"
