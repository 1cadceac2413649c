/* Maps of bf16. */
#include "bf16.h"

#define ELEMENT uint16_t
#define WIDEN bf16_widen
#define NARROW bf16_narrow
#define MAPS maps_bf16
#define NAME "bf16"
#include "maps_kernels.h"
