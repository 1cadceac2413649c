/* isa: which instruction set extensions the programs use. They use those of the machine, except for
 * those that the environment variable SIMCLR_ISA hides.
 *
 * SIMCLR_ISA=avx2 makes every program choose the kernels that it would choose on a machine whose
 * best extension is AVX2: the block products (gemm_kernel.h), the clones (multiversion.h) and the
 * transposition. One machine can then test and time the code of older ones. If the variable is
 * unset or empty, nothing is hidden. */
#ifndef ISA_H
#define ISA_H

#include <stdbool.h>

/* The levels. Each includes all levels before it. */
enum isa {
    ISA_PORTABLE,    /* the compiler's baseline: SSE2 on x86-64 */
    ISA_AVX2,        /* AVX2 and FMA: x86-64-v3 */
    ISA_AVX512,      /* AVX-512 F, BW, VL, DQ: x86-64-v4 */
    ISA_AVX512_BF16, /* products of bf16 pairs */
    ISA_AMX          /* AMX-TILE and AMX-BF16, where Linux lets this process use them */
};

/* The values of SIMCLR_ISA, in the order of the levels: "portable|avx2|avx512|avx512-bf16|amx". */
extern const char isa_names[];

/* Returns true if this machine has the level and SIMCLR_ISA does not hide it. Processors other than
 * x86-64 have only ISA_PORTABLE. */
bool isa_has(enum isa level);

/* Returns -1 with a message if SIMCLR_ISA is set to something other than an empty value or one of
 * isa_names; otherwise 0. Until a program has called this, a wrong value counts as "portable". */
int isa_check(void);

#endif
