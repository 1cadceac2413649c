/* An OpenCL library whose device fails: it stands before the system's library, whose other functions
 * it passes on. For device.sh, by SIMCLR_OPENCL.
 *
 *   OPENCL_FAULT=build       the kernels do not compile
 *   OPENCL_FAULT=memory      there is no memory beyond OPENCL_FAULT_AFTER bytes
 *   OPENCL_FAULT=lost        the device is taken away after OPENCL_FAULT_AFTER kernels */
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

static int faulty(const char *fault)
{
    const char *asked = getenv("OPENCL_FAULT");
    return asked && !strcmp(asked, fault);
}

static long after(void)
{
    const char *text = getenv("OPENCL_FAULT_AFTER");
    return text ? atol(text) : 0;
}

#define NEXT(name) ((__typeof__(name) *)dlsym(RTLD_NEXT, #name))

cl_int clBuildProgram(cl_program program, cl_uint n, const cl_device_id *devices,
                      const char *options, void(CL_CALLBACK *notify)(cl_program, void *),
                      void *user)
{
    return faulty("build") ? CL_BUILD_PROGRAM_FAILURE
                           : NEXT(clBuildProgram)(program, n, devices, options, notify, user);
}

cl_int clGetProgramBuildInfo(cl_program program, cl_device_id device, cl_program_build_info what,
                             size_t size, void *value, size_t *needed)
{
    const char log[] = "In the text:\nkernels.cl:7:1: error: no \x1b[31msuch\x1b[0m thing\nmore";
    if (!faulty("build") || size < sizeof log)
        return NEXT(clGetProgramBuildInfo)(program, device, what, size, value, needed);
    memcpy(value, log, sizeof log);
    return CL_SUCCESS;
}

cl_mem clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *host, cl_int *code)
{
    static size_t used;
    used += size;
    if (!faulty("memory") || used <= (size_t)after())
        return NEXT(clCreateBuffer)(context, flags, size, host, code);
    if (code)
        *code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
    return NULL;
}

static int lost(void)
{
    static long kernels;
    return faulty("lost") && kernels++ >= after();
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions,
                              const size_t *offset, const size_t *all, const size_t *group,
                              cl_uint n, const cl_event *wait, cl_event *event)
{
    return lost() ? CL_OUT_OF_RESOURCES
                  : NEXT(clEnqueueNDRangeKernel)(queue, kernel, dimensions, offset, all, group, n,
                                                 wait, event);
}
