/* torch_zip: the files that torch.save() writes since PyTorch 1.6. They are zip archives with
 * NAME/data.pkl, NAME/data/KEY for each storage, and in newer ones NAME/byteorder. libarchive reads
 * them by their central directory, stored or deflated entries, with zip64's sizes, and checks their
 * CRC-32. */
#ifndef TORCH_ZIP_H
#define TORCH_ZIP_H

#include <stddef.h>
#include <stdint.h>

#include "python/torch_storages.h"

struct torch_zip {
    const char *path;
    int64_t size;    /* of the file */
    uint8_t *pickle; /* data.pkl; owned */
    size_t pickle_n;
    char *prefix; /* "NAME/"; owned */
};

/* Opens the file and reads data.pkl. The path must outlive it. Returns -1 with a message. The
 * caller calls torch_zip_close() in any case. */
int torch_zip_open(struct torch_zip *zip, const char *path);
void torch_zip_close(struct torch_zip *zip); /* leaves {0} */

/* Checks that the wanted storages are not larger than the file can hold. Call it before memory is
 * allocated for their tensors. Returns -1 with a message. */
int torch_zip_check(const struct torch_zip *zip, const struct torch_storages *storages);

/* Reads the wanted storages one after the other. Holds one of them at a time. Returns -1 with a
 * message, among others if one is missing or of another size than the pickle says. */
int torch_zip_read(const struct torch_zip *zip, const struct torch_storages *storages,
                   torch_storage_use *use, void *context);

#endif
