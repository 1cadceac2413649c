#include "pictures.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "data/decode.h"
#include "data/image.h"

static int64_t values_of(const struct decode_header *h)
{
    return (int64_t)h->width * h->height * image_channels(h->kind);
}

static void look_at(const struct image *image)
{
    const size_t n = image_pixel_bytes(image->kind) * (size_t)image->width * (size_t)image->height;
    volatile uint8_t sum = 0;
    assert(n <= image->capacity);
    for (size_t k = 0; k < n; k += 997)
        sum = (uint8_t)(sum + image->pixels[k]);
}

void pictures_decode(const uint8_t *bytes, size_t size, int64_t most)
{
    static struct decoder *d; /* one decoder for all pictures, as in a run */
    if (!d)
        d = decoder_new();
    assert(d);
    uint8_t *copy = malloc(size ? size : 1); /* so that a byte too far is found */
    assert(copy);
    memcpy(copy, bytes, size);
    const struct sample s = {.bytes = copy, .size = size, .file = "fuzzed"};
    struct image image = {0};
    for (int i = 0; i < 4; i++) {
        struct decode_header header;
        if (decode_start(d, &s, i % 2, &header))
            break;
        assert(header.width > 0 && header.height > 0);
        if (values_of(&header) > most)
            break;
        const int denominator = decode_reduction(d, 1.0 / (1 << i));
        if (decode_finish(d, i / 2 ? DECODE_RAW : DECODE_RGB, denominator, &image))
            continue;
        assert(image.width == (header.width + denominator - 1) / denominator);
        assert(image.height == (header.height + denominator - 1) / denominator);
        look_at(&image);
    }
    image_free(&image);
    free(copy);
}
