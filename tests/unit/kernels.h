/* kernels: what CLONES compiles for each level of vector units, compiled for the present one alone.
 * These functions take the place of the library's. */
#define CLONES_H
#define CLONES

#include "blur.c"
#include "color.c"
#include "geometry.c"
#include "noise.c"
#include "resample.c"
#include "sobel.c"
#include "weigh.c"
