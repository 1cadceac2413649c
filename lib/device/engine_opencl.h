/* engine_opencl: the engine of an OpenCL device (engine/engine.h), in float32. Maps, packed weights
 * and partial sums are in the device's memory. Host memory is crossed by x, h and dh, once a step by
 * each weight and each gradient, and by the sums of each norm, which all workers add. */
#ifndef ENGINE_OPENCL_H
#define ENGINE_OPENCL_H

#include "engine/engine.h"

/* Returns an engine for the device of this name (opencl_devices.h) whose caller uses `threads`
 * threads, or NULL with a message if there is no such device or its kernels do not compile. */
struct engine *engine_opencl_new(const char *device, int threads);

#endif
