/* torch_tensors: finds the tensors in the pickle of a checkpoint, and what they view.
 *
 * The names are the keys of nested dicts, OrderedDicts, defaultdicts, lists and tuples, joined by
 * dots: {"state_dict": {"fc.weight": T}, "all": [T]} holds state_dict.fc.weight and all.0. Values
 * of other kinds are passed over, among them objects of classes, whatever they hold. */
#ifndef TORCH_TENSORS_H
#define TORCH_TENSORS_H

#include <stdbool.h>
#include <stdint.h>

#include "frame/tensor.h"
#include "python/torch_storages.h"

enum { TORCH_MAX_NAME = 1024 }; /* bytes of a tensor's name with its final zero */

struct torch_tensor {
    char *name; /* UTF-8 without control characters; owned by the list */
    struct torch_storage *storage;
    enum torch_type type; /* of its values; never untyped or unknown */
    int ndim;
    /* In values: element (i, j, ...) is at offset + i stride[0] + j stride[1] + ... of the storage,
     * which was checked to be inside. */
    int64_t offset, shape[FRAME_MAX_DIMS], stride[FRAME_MAX_DIMS];
    int64_t count; /* number of values */
};

struct torch_tensors {
    struct torch_tensor *list;
    int64_t n, capacity;
};

/* Lists the tensors for whose names `wanted` returns true (NULL: all tensors) and marks their
 * storages. Prints the names of the classes of objects that it passes over, once, on stderr, after
 * `path`. Returns -1 with a message that begins with `path`, among others for a wanted tensor that
 * is sparse, quantized, complex or made by a global that is not known. The caller calls
 * torch_tensors_free() in any case. */
int torch_tensors_collect(const struct pickle_value *root, struct torch_storages *storages,
                          bool (*wanted)(const char *name, void *context), void *context,
                          const char *path, struct torch_tensors *found);
void torch_tensors_free(struct torch_tensors *found); /* leaves {0} */

#endif
