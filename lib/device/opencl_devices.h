/* opencl_devices: which OpenCL devices this machine has. */
#ifndef OPENCL_DEVICES_H
#define OPENCL_DEVICES_H

#include <CL/cl.h>
#include <stdbool.h>
#include <stdio.h>

/* The form of the names below, for messages and help. */
#define OPENCL_DEVICE_FORM "opencl or opencl:PLATFORM.DEVICE"

/* Returns true if the name has this form. */
bool opencl_names_device(const char *device);

/* Finds the device of a name: "opencl" is the first GPU, or else the first device;
 * "opencl:PLATFORM.DEVICE" has the numbers that opencl_print_devices() prints. Sets *platform, and
 * name, a short description without control characters that is cut to fit. Returns NULL with a
 * message if there is no such device. */
enum { OPENCL_NAME = 128 };
cl_device_id opencl_find_device(const char *device, cl_platform_id *platform,
                                char name[OPENCL_NAME]);

/* Prints a line for each device: its name for --device, description and memory. If there is no
 * OpenCL, prints a line that says so. */
void opencl_print_devices(FILE *to);

#endif
