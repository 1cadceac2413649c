#include "device/opencl_devices.h"

#include <stdbool.h>
#include <string.h>

#include "base/fail.h"
#include "device/opencl_library.h"

enum { MOST_PLATFORMS = 64, MOST_DEVICES = 64 };

/* Writes a text of a platform or device, with its control characters replaced. */
static void read_text(cl_int (*get)(void *of, cl_uint what, size_t size, void *value), void *of,
                      cl_uint what, char text[OPENCL_NAME])
{
    char all[1024] = "?";
    if (get(of, what, sizeof all, all) != CL_SUCCESS)
        strcpy(all, "?");
    all[sizeof all - 1] = '\0';
    fail_clean(all);
    const char *begin = all + strspn(all, " ");
    snprintf(text, OPENCL_NAME, "%.*s", OPENCL_NAME - 1, begin);
}

static cl_int platform_info(void *of, cl_uint what, size_t size, void *value)
{
    return opencl_library()->GetPlatformInfo(of, what, size, value, NULL);
}

static cl_int device_info(void *of, cl_uint what, size_t size, void *value)
{
    return opencl_library()->GetDeviceInfo(of, what, size, value, NULL);
}

/* Returns the number of platforms, at most MOST_PLATFORMS; -1 with a message. */
static int list_platforms(cl_platform_id platforms[MOST_PLATFORMS])
{
    const struct opencl_library *cl = opencl_library();
    cl_uint n = 0;
    if (!cl)
        return -1;
    const cl_int code = cl->GetPlatformIDs(MOST_PLATFORMS, platforms, &n);
    if (code != CL_SUCCESS || !n)
        return fail("no OpenCL device: %s", opencl_error(code == CL_SUCCESS ? -1001 : code));
    return n < MOST_PLATFORMS ? (int)n : MOST_PLATFORMS;
}

/* Returns the number of a platform's devices of a type, at most MOST_DEVICES; 0 if there are none
 * or the platform does not answer. */
static int list_devices(cl_platform_id platform, cl_device_type type,
                        cl_device_id devices[MOST_DEVICES])
{
    cl_uint n = 0;
    if (opencl_library()->GetDeviceIDs(platform, type, MOST_DEVICES, devices, &n) != CL_SUCCESS)
        return 0;
    return n < MOST_DEVICES ? (int)n : MOST_DEVICES;
}

/* Reads the numbers of "opencl:PLATFORM.DEVICE". Returns false if the name has another form. */
static bool read_numbers(const char *device, int *p, int *d)
{
    int end = 0;
    return sscanf(device, "opencl:%4d.%4d%n", p, d, &end) == 2 && !device[end] &&
           strspn(device + 7, "0123456789.") == strlen(device + 7);
}

bool opencl_names_device(const char *device)
{
    int p, d;
    return !strcmp(device, "opencl") || read_numbers(device, &p, &d);
}

static cl_device_id choose(const char *device, cl_platform_id *platform)
{
    cl_platform_id platforms[MOST_PLATFORMS];
    cl_device_id devices[MOST_DEVICES];
    int p = 0, d = 0;
    const bool any = !read_numbers(device, &p, &d);
    const int n = list_platforms(platforms);
    if (n < 0)
        return fail_prefix("--device %s", device), NULL;
    if (!any) {
        if (p >= n || d >= list_devices(platforms[p], CL_DEVICE_TYPE_ALL, devices))
            return fail_null("--device %s: there is no such device; --device list prints those "
                             "that there are",
                             device);
        *platform = platforms[p];
        return devices[d];
    }
    const cl_device_type types[] = {CL_DEVICE_TYPE_GPU, CL_DEVICE_TYPE_ALL};
    for (int t = 0; t < 2; t++)
        for (p = 0; p < n; p++)
            if (list_devices(platforms[p], types[t], devices)) {
                *platform = platforms[p];
                return devices[0];
            }
    return fail_null("--device %s: %s", device, opencl_error(CL_DEVICE_NOT_FOUND));
}

cl_device_id opencl_find_device(const char *device, cl_platform_id *platform,
                                char name[OPENCL_NAME])
{
    cl_device_id found = choose(device, platform);
    cl_bool available = CL_FALSE, compiles = CL_FALSE;
    if (!found)
        return NULL;
    read_text(device_info, found, CL_DEVICE_NAME, name);
    device_info(found, CL_DEVICE_AVAILABLE, sizeof available, &available);
    device_info(found, CL_DEVICE_COMPILER_AVAILABLE, sizeof compiles, &compiles);
    if (!available || !compiles)
        return fail_null(
            "--device %s: %s: %s", device, name,
            opencl_error(available ? CL_COMPILER_NOT_AVAILABLE : CL_DEVICE_NOT_AVAILABLE));
    return found;
}

void opencl_print_devices(FILE *to)
{
    cl_platform_id platforms[MOST_PLATFORMS];
    const int n = list_platforms(platforms);
    if (n < 0)
        fprintf(to, "(%s)\n", fail_message());
    for (int p = 0; p < n; p++) {
        cl_device_id devices[MOST_DEVICES];
        char platform[OPENCL_NAME], device[OPENCL_NAME];
        read_text(platform_info, platforms[p], CL_PLATFORM_NAME, platform);
        const int here = list_devices(platforms[p], CL_DEVICE_TYPE_ALL, devices);
        for (int d = 0; d < here; d++) {
            cl_ulong memory = 0;
            read_text(device_info, devices[d], CL_DEVICE_NAME, device);
            device_info(devices[d], CL_DEVICE_GLOBAL_MEM_SIZE, sizeof memory, &memory);
            fprintf(to, "opencl:%d.%d  %s (%s), %llu MiB\n", p, d, device, platform,
                    (unsigned long long)(memory >> 20));
        }
    }
}
