/* torch_legacy: the files that torch.save() wrote before PyTorch 1.6, and still writes with
 * _use_new_zipfile_serialization=False. They are five pickles, one after the other:
 *
 *   0x1950a86a20f9469cfc6c, 1001, system {"little_endian": ...}, the object, the list of keys
 *
 * and then for each key 8 bytes with the number of values, little-endian, and the values
 * (_legacy_save() of torch/serialization.py). */
#ifndef TORCH_LEGACY_H
#define TORCH_LEGACY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "python/torch_storages.h"

struct torch_legacy {
    const char *path;
    int fd;
    int64_t size;   /* of the file */
    uint8_t *bytes; /* the beginning of the file, with all pickles; owned */
    size_t n;
    struct pickle *object, *keys;
    int64_t *places; /* of the values of each key in the file, set by torch_legacy_check() */
};

enum { TORCH_LEGACY_START = 32 };
/* Returns true if a file that begins with these n bytes, of which TORCH_LEGACY_START suffice, is
 * such a file. */
bool torch_legacy_recognize(const uint8_t *first, size_t n);

/* Opens the file and reads the pickles. The path must outlive it. Returns -1 with a message. The
 * caller calls torch_legacy_close() in any case. */
int torch_legacy_open(struct torch_legacy *file, const char *path);
void torch_legacy_close(struct torch_legacy *file);

/* Finds the storages of the object in the file. Returns -1 with a message if one is missing or does
 * not fit into the file. */
int torch_legacy_check(struct torch_legacy *file, const struct torch_storages *storages);

/* Reads the wanted storages one after the other, after torch_legacy_check(). Holds one of them at a
 * time. Returns -1 with a message. */
int torch_legacy_read(const struct torch_legacy *file, const struct torch_storages *storages,
                      torch_storage_use *use, void *context);

#endif
