/* engine: what a network is executed with: convolutions (conv.h) and what else is done to maps
 * (activations.h), in one precision, by the kernels that suit this machine.
 *
 *   fp32     activations and products float32
 *   bf16     activations, their gradients and the weights' copies that are multiplied are bf16;
 *            sums, statistics, weights and their gradients float32. Without instructions for bf16
 *            products are made in float32, of the same rounded numbers.
 *   fp32x3   activations float32; products as three products of bf16 halves (panel.h), which keep
 *            16 bits of a number's 24: float32's range, nearly its accuracy, on matrix units */
#ifndef ENGINE_H
#define ENGINE_H

#include "engine/activations.h"
#include "engine/panel.h"

struct engine {
    struct precision values;
    const struct activations *maps;
};

/* The precisions and the kernels that can be chosen, as options list them: "a|b|c". */
extern const char engine_precisions[];
extern const char engine_kernels[];

/* Fills *e. kernel is a product's name, or "auto" for the fastest that this machine has. -1 with a
 * message: the machine lacks what it takes, or the kernel does not fit the precision. */
int engine_choose(const char *precision, const char *kernel, struct engine *e);

#endif
