/* engine_cpu: the engines of a processor: convolutions by conv.h, all else by activations.h, on
 * maps in the host's memory. engine_choose() chooses among them; a test may ask for one that this
 * machine's processor would not have chosen. */
#ifndef ENGINE_CPU_H
#define ENGINE_CPU_H

#include "engine/engine.h"
#include "engine/gemm_kernel.h"

/* engine_precisions in engine.h says what they are. */
enum engine_precision { ENGINE_FP32, ENGINE_BF16, ENGINE_FP32X3 };

/* Returns an engine that multiplies with this kernel, which the caller knows to run here. A kernel
 * of floats computes fp32 and bf16, one of bf16 computes bf16 and fp32x3. NULL with a message if the
 * kernel breaks its contract (gemm_kernel.h) or memory is out. */
struct engine *engine_cpu_new(const struct gemm_kernel *kernel, enum engine_precision precision,
                              int threads);

#endif
