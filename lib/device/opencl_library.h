/* opencl_library: the functions of the system's OpenCL library, which is loaded when it is asked
 * for. So the programs run where there is none, and building them needs OpenCL's headers only. */
#ifndef OPENCL_LIBRARY_H
#define OPENCL_LIBRARY_H

#include <CL/cl.h>

/* The functions that are used, without their prefix cl. */
#define OPENCL_FUNCTIONS(FUNCTION)                                                                 \
    FUNCTION(BuildProgram)                                                                         \
    FUNCTION(CreateBuffer)                                                                         \
    FUNCTION(CreateCommandQueue)                                                                   \
    FUNCTION(CreateContext)                                                                        \
    FUNCTION(CreateKernel)                                                                         \
    FUNCTION(CreateProgramWithSource)                                                              \
    FUNCTION(EnqueueNDRangeKernel)                                                                 \
    FUNCTION(EnqueueReadBuffer)                                                                    \
    FUNCTION(EnqueueWriteBuffer)                                                                   \
    FUNCTION(Finish)                                                                               \
    FUNCTION(Flush)                                                                                \
    FUNCTION(GetDeviceIDs)                                                                         \
    FUNCTION(GetDeviceInfo)                                                                        \
    FUNCTION(GetPlatformIDs)                                                                       \
    FUNCTION(GetPlatformInfo)                                                                      \
    FUNCTION(GetProgramBuildInfo)                                                                  \
    FUNCTION(ReleaseCommandQueue)                                                                  \
    FUNCTION(ReleaseContext)                                                                       \
    FUNCTION(ReleaseKernel)                                                                        \
    FUNCTION(ReleaseMemObject)                                                                     \
    FUNCTION(ReleaseProgram)                                                                       \
    FUNCTION(SetKernelArg)

#define OPENCL_MEMBER(name) __typeof__(cl##name) *name;
struct opencl_library {
    OPENCL_FUNCTIONS(OPENCL_MEMBER)
};
#undef OPENCL_MEMBER

/* Loads the library, once in a process, and returns its functions. Returns NULL with a message if
 * there is none, or it lacks a function. The environment variable SIMCLR_OPENCL names another file
 * than libOpenCL.so.1. Call it from one thread. */
const struct opencl_library *opencl_library(void);

/* Returns what an error code of OpenCL means, such as "out of memory on the device (-4)". The text
 * is valid until the calling thread's next call. */
const char *opencl_error(cl_int code);

#endif
