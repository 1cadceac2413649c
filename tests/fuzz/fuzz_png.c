/* A PNG file. Its checksums are put right first, else little would come past them. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "image.h"
#include "input.h"

static size_t read_length(const uint8_t *b)
{
    return (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
}

/* After the signature: chunks of a length, a name, that many bytes and their CRC-32. */
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
    struct image image = {0};
    for (int mended = 0; mended < 2; mended++) {
        uint8_t *copy = malloc(size + 1);
        assert(copy);
        memcpy(copy, bytes, size);
        if (mended && size >= 8)
            mend(copy, size);
        const int fd = input_file((struct input){copy, size});
        if (!image_read_png(&image, input_path(fd))) {
            const size_t n = (size_t)image.width * (size_t)image.height * 3;
            assert(image.width > 0 && image.height > 0 && n <= image.capacity);
            volatile uint8_t sum = 0;
            for (size_t i = 0; i < n; i += 997)
                sum = (uint8_t)(sum + image.pixels[i]);
        }
        close(fd);
        free(copy);
    }
    image_free(&image);
    return 0;
}
