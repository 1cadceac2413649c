/* emulated: lets a test run AMX-BF16 and AVX512-BF16 code on any x86-64 machine, with
 * tests/emulate.c.
 *
 * main() calls run_emulated(argv) first if the machine lacks the instructions that the test
 * needs. */
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

/* Returns true in a program that runs with the emulator. Instructions that the machine has still
 * run on the machine. */
static inline bool emulated(void)
{
    return dlsym(RTLD_DEFAULT, "emulate_amx_bf16") != NULL;
}

/* Returns true if the emulator can run kernel p. It emulates instructions for bf16, but not the
 * AVX-512 registers that all kernels of bf16 use when they store. */
static inline bool lends(const struct gemm_kernel *p)
{
    return p->values == GEMM_BF16 && isa_has(ISA_AVX512);
}

/* Returns true if kernel p can run here, on the machine or with the emulator if that is loaded. */
static inline bool runs(const struct gemm_kernel *p)
{
    return p->usable() || (emulated() && lends(p));
}

/* Starts this program again with the emulator, which is in the same folder; the new process then
 * returns from here. Child processes of it run without the emulator. On machines other than x86-64
 * this function does nothing. */
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
        /* AddressSanitizer requires to be the first library; being the second does no harm here. */
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
