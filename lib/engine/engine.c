#include "engine/engine.h"

#include <string.h>

#include "base/fail.h"
#include "engine/engine_cpu.h"

const char engine_precisions[] = "fp32|bf16|fp32x3";

struct engine *engine_choose(const char *precision, const char *kernel, int threads)
{
    const enum engine_precision computes = !strcmp(precision, "bf16")     ? ENGINE_BF16
                                           : !strcmp(precision, "fp32x3") ? ENGINE_FP32X3
                                                                          : ENGINE_FP32;
    const struct gemm_kernel *by = NULL;
    if (strcmp(kernel, "auto")) {
        by = gemm_kernel_find(kernel);
        if (!by || !by->usable())
            return fail_null("this machine lacks the instructions of kernel %s", kernel);
        if (computes == (by->values == GEMM_BF16 ? ENGINE_FP32 : ENGINE_FP32X3))
            return fail_null("kernel %s does not compute %s", kernel, precision);
        return engine_cpu_new(by, computes, threads);
    }
    if (computes != ENGINE_FP32)
        by = gemm_kernel_choose(GEMM_BF16);
    if (!by && computes == ENGINE_FP32X3)
        return fail_null("fp32x3 needs instructions for bf16, which this machine lacks: use fp32");
    return engine_cpu_new(by ? by : gemm_kernel_choose(GEMM_FLOAT), computes, threads);
}

void engine_free(struct engine *e)
{
    if (e)
        e->close(e);
}
