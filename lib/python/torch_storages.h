/* torch_storages: the storages that a checkpoint of PyTorch refers to. A tensor is a view of a
 * storage, which is an array of numbers beside the pickle; several tensors may share one. In the
 * pickle a storage is a persistent reference ("storage", TYPE, KEY, LOCATION, COUNT)
 * (torch/serialization.py). The location, such as cuda:0, does not matter here. */
#ifndef TORCH_STORAGES_H
#define TORCH_STORAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/pickle.h"

enum torch_type {
    TORCH_F32,
    TORCH_F64,
    TORCH_F16,
    TORCH_BF16,
    TORCH_I64,
    TORCH_I32,
    TORCH_I16,
    TORCH_I8,
    TORCH_U8,
    TORCH_BOOL,
    TORCH_U16,
    TORCH_U32,
    TORCH_UNTYPED, /* the tensor says the type; counted in bytes */
    TORCH_UNKNOWN  /* complex, quantized, ... */
};

/* Returns the number of bytes of a value: 1 if it is untyped, 0 if the type is unknown. */
size_t torch_type_size(enum torch_type type);
/* Returns the type that a global such as torch.float32 names. */
enum torch_type torch_type_of_dtype(const struct pickle_value *global);

enum { TORCH_MAX_KEY = 64 };

struct torch_storage {
    const uint8_t *key; /* in the pickle */
    size_t key_n;
    enum torch_type type;
    int64_t count; /* values, at least 0 */
    size_t size;   /* bytes of a value; 0: not known */
    int64_t bytes; /* count times size */
    bool wanted;   /* a tensor of it is wanted */
    bool found;    /* for the readers: its bytes were found */
};

/* The storages in the byte order of their keys, which are unique. */
struct torch_storages {
    struct torch_storage *list;
    size_t n;
};

/* Lists the storages of a pickle, which must stay valid. Returns -1 with a message that begins with
 * `where`. The caller calls torch_storages_free() in any case. */
int torch_storages_collect(const struct pickle *p, const char *where, struct torch_storages *all);
void torch_storages_free(struct torch_storages *all); /* leaves {0} */

/* Return the storage of that key, or the one that a persistent reference means, or NULL. */
struct torch_storage *torch_storages_find(const struct torch_storages *all, const void *key,
                                          size_t key_n);
struct torch_storage *torch_storages_of(const struct torch_storages *all,
                                        const struct pickle_value *persistent);

/* Gets the bytes of one wanted storage after the other, in any order. `bytes` are valid during the
 * call. Returns -1 with a message to end the reading. */
typedef int torch_storage_use(void *context, const struct torch_storage *storage,
                              const uint8_t *bytes);

#endif
