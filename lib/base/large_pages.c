#include "base/large_pages.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE = 2 << 20 };

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__)

/* AddressSanitizer sees what is read or written beyond a block of malloc(). */

void *large_pages_take(size_t bytes)
{
    void *memory = bytes < SIZE_MAX / 2 ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
    return memory ? memset(memory, 0, bytes) : NULL;
}

void *large_pages_resize(void *memory, size_t bytes, size_t new_bytes)
{
    void *moved = large_pages_take(new_bytes);
    if (moved && memory) {
        memcpy(moved, memory, bytes < new_bytes ? bytes : new_bytes);
        free(memory);
    }
    return moved;
}

void large_pages_free(void *memory, size_t bytes)
{
    (void)bytes;
    free(memory);
}

#else

static size_t round_up(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

/* Reserves aligned addresses for `bytes`, a multiple of PAGE, by giving back what lies around them. */
static unsigned char *reserve(size_t bytes, int protection)
{
    unsigned char *at = mmap(NULL, bytes + PAGE, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    const size_t before = -(uintptr_t)at % PAGE;
    if (before)
        munmap(at, before);
    munmap(at + before + bytes, PAGE - before);
    return at + before;
}

void *large_pages_take(size_t bytes)
{
    if (bytes > SIZE_MAX / 2)
        return NULL;
    unsigned char *memory = reserve(round_up(bytes), PROT_READ | PROT_WRITE);
    if (memory)
        madvise(memory, round_up(bytes), MADV_HUGEPAGE); /* advice, which the system may ignore */
    return memory;
}

/* The pages move to addresses that are aligned as well, so large ones stay large. */
void *large_pages_resize(void *memory, size_t bytes, size_t new_bytes)
{
    if (!memory)
        return large_pages_take(new_bytes);
    if (new_bytes > SIZE_MAX / 2)
        return NULL;
    const size_t old = round_up(bytes), size = round_up(new_bytes);
    if (old == size)
        return memory;
    unsigned char *to = reserve(size, PROT_NONE);
    if (!to)
        return NULL;
    void *moved = mremap(memory, old, size, MREMAP_MAYMOVE | MREMAP_FIXED, to);
    if (moved == MAP_FAILED) {
        munmap(to, size);
        return NULL;
    }
    madvise(moved, size, MADV_HUGEPAGE);
    return moved;
}

void large_pages_free(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, round_up(bytes));
}

#endif

void large_pages_advise(void *memory, size_t bytes)
{
    const uintptr_t begin = ((uintptr_t)memory + PAGE - 1) / PAGE * PAGE;
    const uintptr_t end = ((uintptr_t)memory + bytes) / PAGE * PAGE;
    if (begin < end && bytes >= 2 * (size_t)PAGE)
        madvise((unsigned char *)memory + (begin - (uintptr_t)memory), end - begin, MADV_HUGEPAGE);
}
