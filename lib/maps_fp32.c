/* Maps of float32. */
#define ELEMENT float
#define WIDEN(value) (value)
#define NARROW(value) (value)
#define MAPS maps_fp32
#define NAME "fp32"
#include "maps_kernels.h"
