/* activation_streams: how the functions of activations.h read and write memory. This file is a part
 * of the template activation_kernels.h, which defines the type ELEMENT. */
#ifndef ACTIVATION_STREAMS_H
#define ACTIVATION_STREAMS_H

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#include "base/count.h"

enum {
    AHEAD = 2048,    /* usual distance in bytes from values being read to those being prefetched */
    STREAM = 8 << 20 /* smallest map in bytes that is written past the caches */
};

static inline int64_t bytes(int64_t values)
{
    return values * (int64_t)sizeof(ELEMENT);
}

/* Prefetches what comes `ahead` bytes after n values. The hardware prefetches by itself, but only
 * within a page, and too late where there is arithmetic between loads. For bf16 this call makes the
 * loop a third faster. */
static inline void prefetch(const ELEMENT *x, int64_t ahead, int64_t n)
{
    const uintptr_t at = (uintptr_t)x + (uintptr_t)ahead;
    for (int64_t i = 0; i < bytes(n); i += 64)
        __builtin_prefetch((const void *)(at + (uintptr_t)i));
}

/* Copies n values to memory past the caches. A plain store first reads the cache line from memory,
 * which is a third of the traffic for a map that is too large for any cache. Maps smaller than
 * STREAM are better kept in the caches, where the next operation finds them. */
static inline void stream(ELEMENT *to, const ELEMENT *from, int64_t n)
{
#if defined(__x86_64__)
    const int64_t line = 64 / (int64_t)sizeof *to;
    const int64_t misfit = (int64_t)((uintptr_t)to % 64 / sizeof *to);
    const int64_t head = count_min(misfit ? line - misfit : 0, n);
    memcpy(to, from, (size_t)head * sizeof *to);
    for (n -= head, to += head, from += head; n >= line; n -= line, to += line, from += line)
        for (int i = 0; i < 4; i++)
            _mm_stream_si128((__m128i *)to + i, _mm_loadu_si128((const __m128i *)from + i));
#endif
    memcpy(to, from, (size_t)n * sizeof *to);
}

/* Makes streamed values visible to other threads. */
static inline void stream_end(void)
{
#if defined(__x86_64__)
    _mm_sfence();
#endif
}

#endif
