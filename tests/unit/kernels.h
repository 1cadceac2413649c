/* kernels: what MULTIVERSION compiles for each level of vector units, compiled for the present one
 * alone. These functions take the place of the library's. */
#define MULTIVERSION_H
#define MULTIVERSION

#include "blur.c"
#include "color.c"
#include "geometry.c"
#include "noise.c"
#include "resample.c"
#include "sobel.c"
#include "weigh.c"
