#include "evaluate/class_products.h"

#include <string.h>

#include "base/isa.h"

/* The classes of a block, and how many columns of a block's w stay in a first-level cache. */
enum { CLASSES = 5, COLUMNS = 512 };

#define LANES 2
#define ROWS 2
#define VECTORS 2
#define TARGET
#define NAME(name) portable_##name
#define WIDEN(v) __builtin_convertvector(*(const portable_floats *)(v), portable_doubles)
#include "evaluate/class_products_kernel.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define LANES 4
#define ROWS 2
#define VECTORS 2
#define TARGET __attribute__((target("avx2,fma")))
#define NAME(name) avx2_##name
#define WIDEN(v) _mm256_cvtps_pd(_mm_loadu_ps(v))
#include "evaluate/class_products_kernel.h"

#define LANES 8
#define ROWS 4
#define VECTORS 4
#define TARGET __attribute__((target("avx512f,avx512vl,avx512dq,fma")))
#define NAME(name) avx512_##name
#define WIDEN(v) _mm512_cvtps_pd(_mm256_loadu_ps(v))
#include "evaluate/class_products_kernel.h"

#endif

/* Calls the function of this processor. */
#if defined(__x86_64__)
#define CHOOSE(name, ...)                                                                          \
    (isa_has(ISA_AVX512) ? avx512_##name(__VA_ARGS__)                                              \
     : isa_has(ISA_AVX2) ? avx2_##name(__VA_ARGS__)                                                \
                         : portable_##name(__VA_ARGS__))
#else
#define CHOOSE(name, ...) portable_##name(__VA_ARGS__)
#endif

void class_products_logits(const float *const *rows, int64_t n, int64_t width, const double *center,
                           const double *w, int64_t classes, double *z)
{
    for (int64_t c = 0; c < classes; c += CLASSES) {
        const int64_t some = classes - c < CLASSES ? classes - c : CLASSES;
        CHOOSE(logits, rows, n, width, center, w, classes, c, some, z);
    }
}

void class_products_gradient(const float *const *rows, int64_t n, int64_t width,
                             const double *center, const double *r, int64_t classes, int64_t first,
                             int64_t end, double *g)
{
    for (int64_t c = 0; c < classes; c += CLASSES) {
        const int64_t some = classes - c < CLASSES ? classes - c : CLASSES;
        CHOOSE(gradient, rows, n, width, center, r, classes, c, some, first, end, g);
    }
}
