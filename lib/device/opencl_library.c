#include "device/opencl_library.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"

#define NAME(name) "cl" #name,
static const char *const names[] = {OPENCL_FUNCTIONS(NAME)};
#undef NAME
enum { FUNCTIONS = sizeof names / sizeof *names };

static union {
    struct opencl_library functions;
    void *addresses[FUNCTIONS];
} library;
_Static_assert(sizeof library == sizeof library.addresses, "the table has function pointers only");

const struct opencl_library *opencl_library(void)
{
    static bool loaded;
    if (loaded)
        return &library.functions;
    const char *named = getenv("SIMCLR_OPENCL");
    void *handle = dlopen(named && *named ? named : "libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!handle)
        return fail_null("no OpenCL library (Debian: ocl-icd-libopencl1): %s", dlerror());
    for (int i = 0; i < FUNCTIONS; i++)
        if (!(library.addresses[i] = dlsym(handle, names[i]))) {
            fail("the OpenCL library lacks %s", names[i]);
            dlclose(handle);
            return NULL;
        }
    loaded = true;
    return &library.functions;
}

const char *opencl_error(cl_int code)
{
    static const struct {
        cl_int code;
        const char *text;
    } meanings[] = {
        {CL_DEVICE_NOT_FOUND, "no device found"},
        {CL_DEVICE_NOT_AVAILABLE, "the device is not available"},
        {CL_COMPILER_NOT_AVAILABLE, "the platform has no compiler"},
        {CL_MEM_OBJECT_ALLOCATION_FAILURE, "out of memory on the device"},
        {CL_OUT_OF_RESOURCES, "the device is out of resources, or was taken away"},
        {CL_OUT_OF_HOST_MEMORY, "out of memory"},
        {CL_BUILD_PROGRAM_FAILURE, "the kernels do not compile"},
        {CL_INVALID_DEVICE, "the device has gone"},
        {CL_INVALID_BUFFER_SIZE, "larger than the device allows"},
        {CL_INVALID_WORK_GROUP_SIZE, "the device cannot run groups of this size"},
        {CL_INVALID_COMMAND_QUEUE, "the device has failed"},
        {-1001, "no driver is installed"}, /* CL_PLATFORM_NOT_FOUND_KHR */
    };
    static _Thread_local char text[80];
    const char *meaning = "error";
    for (size_t i = 0; i < sizeof meanings / sizeof *meanings; i++)
        if (meanings[i].code == code)
            meaning = meanings[i].text;
    snprintf(text, sizeof text, "%s (OpenCL's %d)", meaning, (int)code);
    return text;
}
