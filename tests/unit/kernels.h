/* kernels: compiles MULTIVERSION functions for the present level of vector units only, instead of
 * one version for each level. These functions replace those of the library. */
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
