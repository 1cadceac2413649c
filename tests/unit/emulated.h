/* emulated: a test runs AMX-BF16 and AVX512-BF16 code on any x86-64 machine, under tests/emulate.c.
 *
 * main() calls run_emulated(argv) first where the machine lacks what the test wants to run. */
#ifndef EMULATED_H
#define EMULATED_H

#include <dlfcn.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/isa.h"
#include "engine/gemm_kernel.h"

/* True in a program that runs under the emulator. What the machine has still runs on the machine.
 */
static inline bool emulated(void)
{
    return dlsym(RTLD_DEFAULT, "emulate_amx_bf16") != NULL;
}

/* True if the emulator can run kernel p. It lends instructions for bf16, but not the AVX-512
 * registers that all kernels of bf16 go through when they store. */
static inline bool lends(const struct gemm_kernel *p)
{
    return p->values == GEMM_BF16 && isa_has(ISA_AVX512);
}

/* True if kernel p can run here: on the machine, or under the emulator where that is loaded. */
static inline bool runs(const struct gemm_kernel *p)
{
    return p->usable() || (emulated() && lends(p));
}

/* Starts this program again with the emulator, which lies beside it; returns there. Children that
 * it starts run without. Elsewhere than on x86-64 it does nothing. */
static inline void run_emulated(char **argv)
{
#if defined(__x86_64__)
    if (emulated()) {
        unsetenv("LD_PRELOAD");
        return;
    }
    char path[PATH_MAX + 16], options[256];
    const ssize_t length = readlink("/proc/self/exe", path, PATH_MAX);
    path[length < 0 ? 0 : length] = 0;
    char *name = strrchr(path, '/');
    strcpy(name ? name + 1 : path, "emulate.so");
    if (access(path, R_OK) == 0) {
        setenv("LD_PRELOAD", path, 1);
        /* AddressSanitizer wants to be the first library; coming second does it no harm here. */
        const char *old = getenv("ASAN_OPTIONS");
        snprintf(options, sizeof options, "%s:verify_asan_link_order=0", old ? old : "");
        setenv("ASAN_OPTIONS", options, 1);
        execv("/proc/self/exe", argv);
    }
    perror(path);
    exit(1);
#else
    (void)argv;
#endif
}

#endif
