#include "engine/engine.h"

#include <string.h>

#include "base/fail.h"

const char engine_precisions[] = "fp32|bf16|fp32x3";
const char engine_kernels[] = "auto|bf16-amx|bf16-avx512|fp32-avx512|fp32-avx2|fp32-portable";

int engine_choose(const char *precision, const char *kernel, struct engine *e)
{
    const bool bf16 = !strcmp(precision, "bf16"), split = !strcmp(precision, "fp32x3");
    const struct gemm_kernel *p = NULL;
    if (strcmp(kernel, "auto")) {
        p = gemm_kernel_find(kernel);
        if (!p || !p->usable())
            return fail("this machine lacks the instructions of kernel %s", kernel);
        if (p->values == GEMM_BF16 ? !bf16 && !split : split)
            return fail("kernel %s does not compute %s", kernel, precision);
    } else {
        if (bf16 || split)
            p = gemm_kernel_choose(GEMM_BF16);
        if (!p && split)
            return fail("fp32x3 needs instructions for bf16, which this machine lacks: use fp32");
        if (!p)
            p = gemm_kernel_choose(GEMM_FLOAT);
    }
    *e = (struct engine){.values = {.product = p, .bf16_maps = bf16, .split = split},
                         .maps = bf16 ? &activations_bf16 : &activations_fp32};
    return 0;
}
