/* large_pages: memory of many megabytes that grows without being copied. Where the system has large
 * pages, which are 2 MiB, it uses them: a page is zeroed at its first use, and looked up in a small
 * table at each, which for thousands of small pages can take longer than the work on their contents.
 *
 * Sizes are in bytes and above 0. Callers remember the size, since the functions need it. */
#ifndef LARGE_PAGES_H
#define LARGE_PAGES_H

#include <stddef.h>

/* Returns zeroed memory, aligned to 2 MiB. Returns NULL without a message if there is none. */
void *large_pages_take(size_t bytes);

/* Returns the memory at another size and often at another address. What it held up to the smaller of
 * both sizes is still there, and the rest is zero. `memory` may be NULL if `bytes` is 0. Returns NULL
 * without a message if there is no memory; the old one is then unchanged. */
void *large_pages_resize(void *memory, size_t bytes, size_t new_bytes);

/* Frees memory of this size; memory may be NULL. */
void large_pages_free(void *memory, size_t bytes);

/* Asks for large pages in memory of malloc() that has not been used yet; other memory stays as it
 * is. Does nothing for less than some large pages. */
void large_pages_advise(void *memory, size_t bytes);

#endif
