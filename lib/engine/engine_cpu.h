/* engine_cpu: the engines of a processor, whose maps are in the host's memory. They compute
 * convolutions with conv.h and all other operations with activations.h. engine_choose() chooses one
 * of them; a test may ask for another one. */
#ifndef ENGINE_CPU_H
#define ENGINE_CPU_H

#include "engine/engine.h"
#include "engine/gemm_kernel.h"

/* The precisions, which engine_precisions in engine.h explains. */
enum engine_precision { ENGINE_FP32, ENGINE_BF16, ENGINE_FP32X3 };

/* Returns an engine that multiplies with this kernel. The caller has checked that the machine can
 * run the kernel. A kernel of floats computes fp32 and bf16, one of bf16 computes bf16 and fp32x3.
 * Returns NULL with a message if the kernel breaks its contract (gemm_kernel.h) or memory is
 * out. */
struct engine *engine_cpu_new(const struct gemm_kernel *kernel, enum engine_precision precision,
                              int threads);

#endif
