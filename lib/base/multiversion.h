/* multiversion: the macro MULTIVERSION before a function compiles it once for each level of vector
 * units. The program picks one at run time, so that one build is fast on new machines and still
 * runs on old ones. SIMCLR_ISA (isa.h) hides levels. */
#ifndef MULTIVERSION_H
#define MULTIVERSION_H

#if defined(__x86_64__) && !defined(__clang__) /* clang cannot link clones across files */
#define MULTIVERSION __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define MULTIVERSION
#endif

#endif
