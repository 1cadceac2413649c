#include "device/opencl_queue.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "device/kernel_arguments.h"
#include "device/kernels.h"
#include "device/opencl_devices.h"
#include "device/opencl_library.h"

/* Bytes of the ring that uploads go through. */
enum { RING = 4 << 20 };

struct opencl_queue {
    const struct opencl_library *cl;
    char name[OPENCL_NAME];
    cl_context context;
    cl_command_queue queue;
    cl_program program;
    cl_kernel kernels[OPENCL_N_KERNELS];
    cl_mem ring_memory;
    unsigned char *ring; /* what is on its way to ring_memory */
    size_t ring_at;
    bool failed;
    struct fail_note failure;
};

#define NAME(name) #name,
static const char *const kernel_names[] = {OPENCL_KERNELS(NAME)};
#undef NAME

void opencl_fail(struct opencl_queue *q, const char *what)
{
    if (q->failed)
        return;
    q->failed = true;
    fail("device %s: %s", q->name, what);
    fail_save(&q->failure);
}

/* Returns true if the command did not fail. */
static bool went_well(struct opencl_queue *q, cl_int code)
{
    if (code != CL_SUCCESS)
        opencl_fail(q, opencl_error(code));
    return code == CL_SUCCESS;
}

/* ---- opening ---- */

/* Fails with the first error of the compiler, or its first line. */
static void fail_to_build(struct opencl_queue *q, cl_device_id device, cl_int code)
{
    char log[16384] = "", text[256];
    q->cl->GetProgramBuildInfo(q->program, device, CL_PROGRAM_BUILD_LOG, sizeof log, log, NULL);
    log[sizeof log - 1] = '\0';
    const char *line = strstr(log, "error");
    while (line && line > log && line[-1] != '\n')
        line--;
    if (!line)
        line = log + strspn(log, " \r\n");
    snprintf(text, sizeof text, "%s: %.*s", opencl_error(code), (int)strcspn(line, "\r\n"), line);
    opencl_fail(q, text);
}

static int build(struct opencl_queue *q, cl_device_id device)
{
    cl_int code;
    const char *texts[] = {kernel_arguments_text, kernels_text};
    q->program = q->cl->CreateProgramWithSource(q->context, 2, texts, NULL, &code);
    if (!went_well(q, code))
        return -1;
    code = q->cl->BuildProgram(q->program, 1, &device, "-cl-std=CL1.2", NULL, NULL);
    if (code != CL_SUCCESS) {
        fail_to_build(q, device, code);
        return -1;
    }
    for (int i = 0; i < OPENCL_N_KERNELS; i++) {
        q->kernels[i] = q->cl->CreateKernel(q->program, kernel_names[i], &code);
        if (!went_well(q, code))
            return -1;
    }
    return 0;
}

static int start(struct opencl_queue *q, const char *device)
{
    cl_platform_id platform;
    cl_device_id id = opencl_find_device(device, &platform, q->name);
    cl_int code;
    if (!id)
        return -1;
    const cl_context_properties properties[] = {CL_CONTEXT_PLATFORM,
                                                (cl_context_properties)platform, 0};
    q->context = q->cl->CreateContext(properties, 1, &id, NULL, NULL, &code);
    if (went_well(q, code))
        q->queue = q->cl->CreateCommandQueue(q->context, id, 0, &code);
    if (went_well(q, code) && !build(q, id)) {
        q->ring_memory = opencl_allocate(q, RING);
        q->ring = malloc(RING);
        if (!q->ring_memory || !q->ring)
            opencl_fail(q, "out of memory");
    }
    return q->failed ? fail_restore(&q->failure) : 0;
}

struct opencl_queue *opencl_open(const char *device)
{
    const struct opencl_library *cl = opencl_library();
    if (!cl)
        return fail_prefix("--device %s", device), NULL;
    struct opencl_queue *q = calloc(1, sizeof *q);
    if (!q)
        return fail_null("out of memory");
    q->cl = cl;
    if (!start(q, device))
        return q;
    struct fail_note why;
    fail_save(&why);
    opencl_close(q);
    fail_restore(&why);
    return NULL;
}

void opencl_close(struct opencl_queue *q)
{
    if (!q)
        return;
    if (q->queue)
        q->cl->Finish(q->queue);
    opencl_release(q, q->ring_memory);
    for (int i = 0; i < OPENCL_N_KERNELS; i++)
        if (q->kernels[i])
            q->cl->ReleaseKernel(q->kernels[i]);
    if (q->program)
        q->cl->ReleaseProgram(q->program);
    if (q->queue)
        q->cl->ReleaseCommandQueue(q->queue);
    if (q->context)
        q->cl->ReleaseContext(q->context);
    free(q->ring);
    free(q);
}

/* ---- memory ---- */

cl_mem opencl_allocate(struct opencl_queue *q, size_t bytes)
{
    return q->cl->CreateBuffer(q->context, CL_MEM_READ_WRITE, bytes ? bytes : 1, NULL, NULL);
}

void opencl_release(struct opencl_queue *q, cl_mem memory)
{
    if (memory)
        q->cl->ReleaseMemObject(memory);
}

void opencl_grow(struct opencl_queue *q, cl_mem *memory, size_t *capacity, size_t bytes)
{
    if (*memory && bytes <= *capacity)
        return;
    opencl_release(q, *memory); /* only once the commands that use it are done */
    *memory = opencl_allocate(q, bytes);
    *capacity = bytes;
    if (!*memory)
        opencl_fail(q, "out of memory on the device");
}

/* ---- commands ---- */

void opencl_run(struct opencl_queue *q, enum opencl_kernel kernel, const size_t groups[3],
                const void *sizes, size_t sizes_bytes, const struct opencl_place *places,
                int n_places)
{
    cl_kernel k = q->kernels[kernel];
    const size_t all[3] = {groups[0] * ITEMS, groups[1], groups[2]}, items[3] = {ITEMS, 1, 1};
    cl_uint n = 0;
    if (q->failed || !groups[0] || !groups[1] || !groups[2])
        return;
    cl_int code = q->cl->SetKernelArg(k, n++, sizes_bytes, sizes);
    for (int i = 0; i < n_places && code == CL_SUCCESS; i++) {
        code = q->cl->SetKernelArg(k, n++, sizeof(cl_mem), &places[i].memory);
        if (code == CL_SUCCESS)
            code = q->cl->SetKernelArg(k, n++, sizeof(cl_ulong), &places[i].at);
    }
    if (code == CL_SUCCESS)
        code = q->cl->EnqueueNDRangeKernel(q->queue, k, 3, NULL, all, items, 0, NULL, NULL);
    if (code == CL_SUCCESS)
        code = q->cl->Flush(q->queue);
    went_well(q, code);
}

void opencl_write(struct opencl_queue *q, const void *from, size_t bytes, struct opencl_place to)
{
    if (!q->failed && bytes)
        went_well(q, q->cl->EnqueueWriteBuffer(q->queue, to.memory, CL_TRUE, to.at, bytes, from, 0,
                                               NULL, NULL));
}

struct opencl_place opencl_upload(struct opencl_queue *q, const void *from, size_t bytes)
{
    if (bytes > RING) {
        opencl_fail(q, "more values for one command than fit into 4 MiB");
        return (struct opencl_place){NULL, 0};
    }
    if (q->ring_at + bytes > RING) {
        if (!q->failed)
            went_well(q, q->cl->Finish(q->queue));
        q->ring_at = 0;
    }
    const struct opencl_place to = {q->ring_memory, q->ring_at};
    unsigned char *kept = q->ring + q->ring_at;
    memcpy(kept, from, bytes);
    if (!q->failed)
        went_well(q, q->cl->EnqueueWriteBuffer(q->queue, to.memory, CL_FALSE, to.at, bytes, kept, 0,
                                               NULL, NULL));
    q->ring_at += (bytes + 63) / 64 * 64;
    return to;
}

int opencl_read(struct opencl_queue *q, struct opencl_place from, size_t bytes, void *to)
{
    if (!q->failed && bytes)
        went_well(q, q->cl->EnqueueReadBuffer(q->queue, from.memory, CL_TRUE, from.at, bytes, to, 0,
                                              NULL, NULL));
    return q->failed ? fail_restore(&q->failure) : 0;
}
