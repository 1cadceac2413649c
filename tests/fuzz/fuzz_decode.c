/* Fuzzes an image file of any format. It corrects the checksums of a PNG first, because otherwise little
 * would get past their check. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "data/decode.h"
#include "data/image.h"
#include "input.h"

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

/* Decodes the picture at full size and at the reduced sizes that a JPEG has, turned or not. */
static void decode(struct decoder *d, const struct sample *s)
{
    struct image image = {0};
    for (int i = 0; i < 4; i++) {
        struct decode_header header;
        if (decode_start(d, s, i % 2, &header))
            break;
        const int width = header.width, height = header.height;
        assert(width > 0 && height > 0);
        const enum decode_pixels pixels = header.no_rgb || i / 2 ? DECODE_RAW : DECODE_RGB;
        const int denominator = decode_reduction(d, 1.0 / (1 << i));
        if (decode_finish(d, pixels, denominator, &image))
            continue;
        assert(image.width == (width + denominator - 1) / denominator);
        assert(image.height == (height + denominator - 1) / denominator);
        const size_t n = image_pixel_bytes(image.kind) * (size_t)image.width * (size_t)image.height;
        assert(n <= image.capacity);
        volatile uint8_t sum = 0;
        for (size_t k = 0; k < n; k += 997)
            sum = (uint8_t)(sum + image.pixels[k]);
    }
    image_free(&image);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct decoder *d; /* one decoder for all pictures, as in a run */
    if (!d)
        d = decoder_new();
    assert(d);
    for (int mended = 0; mended < 2; mended++) {
        uint8_t *copy = malloc(size + 1);
        assert(copy);
        memcpy(copy, bytes, size);
        if (mended && size >= 8 && *copy == 0x89)
            mend(copy, size);
        decode(d, &(struct sample){.bytes = copy, .size = size, .file = "fuzzed"});
        free(copy);
    }
    return 0;
}
