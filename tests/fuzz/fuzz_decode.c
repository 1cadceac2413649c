/* Fuzzes a PNG or JPEG file. It corrects the checksums of a PNG first, because otherwise little
 * would get past their check. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "input.h"
#include "pictures.h"

static size_t read_length(const uint8_t *b)
{
    return (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
}

/* Corrects the checksums. After the signature come chunks, each of which has a length, a name, that
 * many bytes and their CRC-32. */
static void mend(uint8_t *bytes, size_t size)
{
    for (size_t at = 8; size - at >= 12 && at < size;) {
        const size_t length = read_length(bytes + at);
        if (length > size - at - 12)
            return;
        const unsigned long crc = crc32_z(0, bytes + at + 4, length + 4);
        for (int i = 0; i < 4; i++)
            bytes[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += length + 12;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    pictures_decode(bytes, size, INT64_MAX);
    if (size < 8 || *bytes != 0x89)
        return 0;
    uint8_t *copy = malloc(size);
    assert(copy);
    memcpy(copy, bytes, size);
    mend(copy, size);
    pictures_decode(copy, size, INT64_MAX);
    free(copy);
    return 0;
}
