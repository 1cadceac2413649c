/* kernels: what MULTIVERSION compiles for each level of vector units, compiled for the present one
 * alone. These functions take the place of the library's. */
#define MULTIVERSION_H
#define MULTIVERSION

#include "views/blur.c"
#include "views/flip.c"
#include "views/gray.c"
#include "views/jitter.c"
#include "views/noise.c"
#include "views/pixels.c"
#include "views/resample.c"
#include "views/sobel.c"
#include "views/solarize.c"
