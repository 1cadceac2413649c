#include "device/kernels.h"

/* The assembler puts the files between the symbols; the Makefile says that this object needs them. */
#define TEXT(symbol, file)                                                                         \
    __asm__(".pushsection .rodata\n"                                                               \
            ".global " #symbol "\n"                                                                \
            ".type " #symbol ", %object\n" #symbol ":\n"                                           \
            ".incbin \"" file "\"\n"                                                               \
            ".byte 0\n"                                                                            \
            ".size " #symbol ", . - " #symbol "\n"                                                 \
            ".popsection\n")

TEXT(kernel_arguments_text, "lib/device/kernel_arguments.h");
TEXT(kernels_text, "lib/device/kernels.cl");
