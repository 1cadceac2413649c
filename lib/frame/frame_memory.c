#include <assert.h>
#include <limits.h>
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/fail.h"
#include "frame/frame_parts.h"

/* Returns the bytes of header that these tensors need, with room for some metadata that is set
 * later. */
static size_t header_room(const struct frame *f)
{
    size_t room = 4096;
    for (int i = 0; i < f->n_tensors; i++)
        room += 160 + 2 * strlen(f->tensors[i].name);
    return frame_round_up(room);
}

/* Lets malloc keep freed blocks. Frames of the same sizes come and go in every step. By default
 * glibc returns such blocks to the system, which then hands out zeroed pages with one fault for
 * each 4 KiB; that can take longer than computing their contents. */
static void keep_memory(void)
{
#ifdef M_MMAP_MAX
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, INT_MAX);
#endif
}

void frame_trim_memory(void)
{
#ifdef M_MMAP_MAX
    malloc_trim(0);
#endif
}

/* Makes all threads use the main arena. The arena of another thread returns large blocks to the
 * system, whatever its thresholds are. */
void frame_share_memory(void)
{
#ifdef M_ARENA_MAX
    mallopt(M_ARENA_MAX, 1);
#endif
}

/* Allocates `size` bytes that begin at a multiple of FRAME_ALIGN within *memory, which the caller
 * frees. It does not use aligned_alloc(): small blocks would take the space that it leaves around a
 * large one, and the next frame of this size would no longer fit where this one was. */
static unsigned char *aligned(size_t size, void **memory)
{
    *memory = malloc(size + FRAME_ALIGN);
    const uintptr_t at = (uintptr_t)*memory;
    return *memory ? (unsigned char *)*memory + (-at & (FRAME_ALIGN - 1)) : NULL;
}

/* Points the tensors to the data at `data`, which becomes the frame's. */
static void point(struct frame *f, unsigned char *data)
{
    size_t at = 0;
    f->data = data;
    for (int i = 0; i < f->n_tensors; i++) {
        f->tensors[i].data = data + at;
        at += f->tensors[i].bytes;
    }
}

int frame_allocate(struct frame *f)
{
    f->room = header_room(f);
    size_t size;
    if (__builtin_add_overflow(f->room, f->shared ? 0 : f->data_size, &size) || size > SIZE_MAX / 2)
        return fail("a frame of %zu bytes does not fit into memory", f->data_size);
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, keep_memory);
    f->buffer = aligned(size, &f->memory);
    if (!f->buffer)
        return fail("out of memory for a frame of %zu bytes", size);
    point(f, f->shared ? f->shared->bytes : f->buffer + f->room);
    return 0;
}

int frame_grow_room(struct frame *f, size_t need)
{
    size_t room = frame_round_up(need + 4096);
    void *memory;
    unsigned char *buffer = aligned(room + (f->shared ? 0 : f->data_size), &memory);
    if (!buffer)
        return fail("out of memory for a frame's header");
    if (!f->shared) {
        memcpy(buffer + room, f->data, f->data_size);
        point(f, buffer + room);
    }
    free(f->memory);
    f->memory = memory;
    f->buffer = buffer;
    f->room = room;
    return 0;
}

static bool is_integer(const struct tensor *t)
{
    return t->dtype == DTYPE_I32 || t->dtype == DTYPE_I64;
}

int frame_copy_integers(struct frame *f)
{
    size_t size = 0, at = 0;
    for (int i = 0; i < f->n_tensors; i++)
        size += is_integer(&f->tensors[i]) ? frame_round_up(f->tensors[i].bytes) : 0;
    if (size == 0)
        return 0;
    if (!(f->integers = malloc(size)))
        return fail("out of memory for a frame of %zu bytes", size);
    for (int i = 0; i < f->n_tensors; i++) {
        struct tensor *t = &f->tensors[i];
        if (!is_integer(t))
            continue;
        memcpy(f->integers + at, t->data, t->bytes);
        t->data = f->integers + at;
        at += frame_round_up(t->bytes);
    }
    return 0;
}

void frame_write_integers(struct frame *f)
{
    unsigned char *at = f->data;
    for (int i = 0; f->integers && i < f->n_tensors; i++) {
        if (is_integer(&f->tensors[i]))
            memcpy(at, f->tensors[i].data, f->tensors[i].bytes);
        at += f->tensors[i].bytes;
    }
}

/* Copies the data to another place. */
static void move(struct frame *f, unsigned char *data)
{
    frame_write_integers(f);
    memcpy(data, f->data, f->data_size);
    point(f, data);
    free(f->integers);
    f->integers = NULL;
    if (f->shared)
        f->shared->release(f->shared);
    f->shared = NULL;
}

void frame_move(struct frame *f, struct frame_memory *memory)
{
    assert(memory->size >= f->data_size);
    move(f, memory->bytes);
    f->shared = memory;
}

int frame_come_home(struct frame *f)
{
    void *memory;
    unsigned char *buffer = aligned(f->room + f->data_size, &memory);
    if (!buffer)
        return fail("out of memory for a frame of %zu bytes", f->data_size);
    move(f, buffer + f->room);
    free(f->memory);
    f->memory = memory;
    f->buffer = buffer;
    return 0;
}
